package publish

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"keystay/internal/testnet"
)

// A counted is a visitor's ResponseWriter that looks how many failures the outage has when
// the visitor gets the answer.
type counted struct {
	http.ResponseWriter
	target *Target
	failed int
}

func (c *counted) WriteHeader(status int) {
	_, c.failed, _ = c.target.silence.Ends()
	c.ResponseWriter.WriteHeader(status)
}

// A failure counts before its visitor knows of it: who comes again at once, when the service
// is back, ends an outage with all its failures.
func TestFailureCountsBeforeItsPageGoesOut(t *testing.T) {
	addr := testnet.Reserve(t).String()
	target := &Target{URL: &url.URL{Scheme: "http", Host: addr}, Network: "tcp", Addresses: []string{addr}}
	w := &counted{ResponseWriter: httptest.NewRecorder(), target: target}
	target.Handler("xyz.relay.test").ServeHTTP(w, httptest.NewRequest("GET", "https://xyz.relay.test/", nil))
	if w.failed != 1 {
		t.Errorf("%d failures count", w.failed)
	}
}
