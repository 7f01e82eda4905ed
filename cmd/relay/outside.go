package main

import (
	"context"
	"sync/atomic"

	"keystay/config"
	"keystay/relay/names"
)

// outside are those who are asked about names: DNS, and the operator's own server.
type outside struct {
	domains *domains
	webhook atomic.Pointer[names.Webhook] // see ask
}

// configure takes up who is asked from now on.
func (o *outside) configure(cfg *config.Relay) {
	if o.domains == nil { // of a test
		return
	}
	o.domains.configure(cfg)
	w := cfg.Names.Webhook
	o.webhook.Store(&names.Webhook{URL: w.URL, Secret: []byte(w.Secret), Remember: w.Remember})
}

// ask is for names.Names. It is called only where there is a webhook: see
// names.Rules.NoQuestions.
func (o *outside) ask(ctx context.Context, c names.Claimant) error {
	return o.webhook.Load().Ask(ctx, c)
}
