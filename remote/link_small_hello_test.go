package remote

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A small hello follows one that was lost, with each transport, is remembered
// for a day and over a restart, and is given up when it is lost as well.
func TestPlanOfASmallHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const relay = "relay.net"
		tls, wss, both := []Transport{TransportTLS}, []Transport{TransportWSS}, []Transport{TransportTLS, TransportWSS}
		for _, only := range []bool{false, true} {
			s := &state{dir: t.TempDir()}
			var at transports
			use := TransportAuto
			if only {
				use, both, wss = TransportTLS, tls, tls
			}
			at.init(use, s)
			expect := func(at *transports, what string, small bool, order []Transport) {
				t.Helper()
				if got := at.plan(relay); got.small != small || !slices.Equal(got.transports, order) {
					t.Errorf("only %v, %s: %+v", only, what, got)
				}
			}
			expect(&at, "at first", false, both)
			at.failed(relay, true)
			expect(&at, "after a lost hello", true, both)
			at.failed(relay, false)
			expect(&at, "after a small one was lost", false, both)
			at.reached(relay, worked{by: TransportTLS, small: true})
			expect(&at, "after a small one got through", true, tls)
			var next transports
			next.init(use, s)
			if only { // what was asked for is not remembered
				expect(&next, "at the next start", false, tls)
			} else {
				expect(&next, "at the next start", true, tls)
			}
			time.Sleep(tryTLSAgain)
			expect(&at, "a day later", false, both)
			if only {
				continue
			}
			at.reached(relay, worked{by: TransportWSS, small: true, untried: true})
			expect(&at, "after a small one got through in a WebSocket", true, both)
			at.reached(relay, worked{by: TransportWSS, small: true})
			expect(&at, "after TLS did not", true, wss)
		}
	})
}
