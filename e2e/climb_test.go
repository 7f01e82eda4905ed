package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/framing"
	"keystay/internal/testca"
	"keystay/remote"
)

// Someone holds team.relay.test at the real relay, has a good certificate for
// it, and answers there like a relay. A device whose name is below it is told by
// the real relay that the name is not free; the holder gets no claim, no token
// and no proof of its identity.
func TestHolderOfTheParentCannotPassForTheRelay(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	addrs := world.StartRelayWith(t, ca, nil, "127.0.0.1:0").Addrs
	config := func(domain string) remote.Config {
		return remote.Config{
			Domain: domain, RelayAddresses: addrs, Links: 1, RelayRoots: ca.Pool(), StateDir: t.TempDir(),
			Proxy:  func(*http.Request) (*url.URL, error) { return nil, nil },
			TLS:    &tls.Config{Certificates: []tls.Certificate{ca.Issue(domain)}},
			Logger: testLog(t, domain),
		}
	}
	parent := config("team." + linksZone)
	parent.Relays = []string{linksZone}
	parent.TLS.NextProtos = []string{framing.Protocol}
	holder, err := remote.Listen(parent)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var links []framing.Hello
	wg.Go(func() {
		for {
			c, err := holder.Accept()
			if err != nil {
				return
			}
			link, hello, err := framing.Server(context.Background(), c)
			if err == nil {
				links = append(links, hello)
				link.Close()
			}
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := holder.Wait(ctx); err != nil {
		t.Fatal(err)
	}

	below := config("app.team." + linksZone)
	below.Token = "victims-token"
	victim, err := remote.Listen(below)
	if err != nil {
		t.Fatal(err)
	}
	var denied *framing.Denial
	if err := victim.Wait(ctx); !errors.As(err, &denied) || denied.Code != framing.DeniedTaken {
		t.Errorf("the victim's Wait: %v, want the real relay's answer", err)
	}
	victim.Shutdown(ctx)
	world.StopNow(holder)
	wg.Wait()
	if len(links) > 0 {
		t.Errorf("the holder of the parent was taken for a relay: %+v", links)
	}
}
