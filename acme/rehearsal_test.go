package acme

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"keystay/internal/hint"
)

// refusing, unrouted and silent are ways to answer a dial.
func refusing(context.Context) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

func unrouted(context.Context) (net.Conn, error) {
	return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
}

func silent(ctx context.Context) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
}

// serving answers a dial with a server that is a function.
func serving(server func(net.Conn)) func(context.Context) (net.Conn, error) {
	return func(context.Context) (net.Conn, error) {
		a, b := net.Pipe()
		go func() {
			defer a.Close()
			server(a)
		}()
		return b, nil
	}
}

// over is a server of TLS.
func over(config *tls.Config) func(net.Conn) {
	return func(c net.Conn) { _ = tls.Server(c, config).Handshake() }
}

// challenged is a server that answers a validation of another order.
func challenged(t *testing.T, name, keyAuth string) func(net.Conn) {
	cert, err := acmez.TLSALPN01ChallengeCert(acme.Challenge{KeyAuthorization: keyAuth, Identifier: acme.Identifier{Type: "dns", Value: name}})
	if err != nil {
		t.Fatal(err)
	}
	return over(&tls.Config{Certificates: []tls.Certificate{*cert}, NextProtos: []string{ALPN}})
}

// web is a server of HTTP with one answer.
func web(status int, body string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		fmt.Fprintf(c, "HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
}

// staged returns a keeper whose name has the addresses 192.0.2.1, 192.0.2.2 and so
// on, each with what is dialled there, and its log. "here" is this keeper itself.
func staged(t *testing.T, dials *atomic.Pointer[[]any], ca caFunc, others ...string) (*Keeper, <-chan Event, *strings.Builder) {
	log := new(strings.Builder)
	var k *Keeper
	r := &Rehearsal{
		Lookup: func(_ context.Context, n string) (list []netip.Addr, err error) {
			if n != name {
				t.Errorf("DNS is asked for %q", n)
			}
			for i, d := range *dials.Load() {
				if err, bad := d.(error); bad {
					return nil, err
				}
				list = append(list, netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}))
			}
			return list, nil
		},
		Dial: func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			switch dial := (*dials.Load())[a.Addr().As4()[3]-1].(type) {
			case func(context.Context) (net.Conn, error):
				return dial(ctx)
			case func(net.Conn):
				return serving(dial)(ctx)
			}
			if a.Port() == 80 {
				return serving(func(c net.Conn) {
					r, err := http.ReadRequest(bufio.NewReader(c))
					if err != nil {
						return
					}
					w := httptest.NewRecorder()
					k.HTTPChallenge(nil).ServeHTTP(w, r)
					_ = w.Result().Write(c)
				})(ctx)
			}
			if a.Port() != 443 {
				t.Errorf("dialled %v", a)
			}
			return serving(over(k.TLSConfig()))(ctx)
		},
	}
	k, events := newKeeper(t, Config{OtherCAs: others, Rehearsal: r, Logger: slog.New(slog.NewTextHandler(log, nil))}, ca)
	return k, events, log
}

// The CA is asked where each address answers rightly, or none can be reached; else
// what is wrong is told with its address.
func TestEachAddressHasToAnswerBeforeTheCAIsAsked(t *testing.T) {
	const here = "here"
	alert := func(code byte) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, code})
		}
	}
	plain, err := tls.X509KeyPair(pair(t, name, time.Now(), time.Now().Add(day)))
	if err != nil {
		t.Fatal(err)
	}
	site := over(&tls.Config{Certificates: []tls.Certificate{plain}, NextProtos: []string{"h2", ALPN}})
	const http01, alpn01 = acme.ChallengeTypeHTTP01, acme.ChallengeTypeTLSALPN01
	for _, test := range []struct {
		what  string
		kind  string
		dials []any
		wrong string // of the error: none where the order may go on
		said  string // by the log, once
	}{
		{"one", alpn01, []any{here}, "", ""},
		{"three", alpn01, []any{here, here, here}, "", ""},
		{"refused", alpn01, []any{here, refusing}, "192.0.2.2:443 refuses connections", ""},
		{"two bad", alpn01, []any{silent, here, refusing}, "192.0.2.1:443 does not answer, and 192.0.2.3:443 refuses connections", ""},
		{"no link", alpn01, []any{here, alert(112)}, "192.0.2.2:443 does not know the name: it may be a relay to which this device has no link", ""},
		{"no link alone", alpn01, []any{alert(112), refusing}, "192.0.2.1:443 does not know the name: it may be a relay to which this device has no link", ""},
		{"other protocol", alpn01, []any{here, alert(120)}, "192.0.2.2:443 does not speak acme-tls/1", ""},
		{"no protocol", alpn01, []any{here, over(&tls.Config{Certificates: []tls.Certificate{plain}})}, "192.0.2.2:443 does not speak acme-tls/1", ""},
		{"a site", alpn01, []any{here, site}, "192.0.2.2:443 shows the certificate of something else, not that of a validation", ""},
		{"another order", alpn01, []any{here, challenged(t, name, "other.thumb")}, "192.0.2.2:443 answers for another order: another device or process is there", ""},
		{"another name", alpn01, []any{here, challenged(t, "other.test", "x")}, "192.0.2.2:443 shows the certificate of something else, not that of a validation", ""},
		{"ends", alpn01, []any{here, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }}, "192.0.2.2:443 ends the connection without an answer", ""},
		{"says nothing", alpn01, []any{here, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }}, "192.0.2.2:443 does not answer", ""},
		{"no TLS", alpn01, []any{here, web(400, "")}, "192.0.2.2:443 fails: ", ""},
		{"no way to one", alpn01, []any{here, unrouted}, "", "this device has no way to 192.0.2.2"},
		{"no way back", alpn01, []any{refusing, silent}, "", "this device cannot reach its own public address: 192.0.2.1:443 refuses connections"},
		{"no network", alpn01, []any{unrouted}, "", "this device cannot reach its own public address: 192.0.2.1:443 fails: "},
		{"no DNS", alpn01, []any{errors.New("no such host")}, "", "DNS gives no address: no such host"},
		{"no address", alpn01, nil, "", "DNS gives no address"},
		{"a crowd", alpn01, make([]any, maxAddresses+1), "", "DNS gives 33 addresses, and 32 at most are tried"},
		{"http", http01, []any{here, here}, "", ""},
		{"http refused", http01, []any{refusing, here}, "192.0.2.1:80 refuses connections", ""},
		{"http unknown", http01, []any{here, web(404, "")}, "192.0.2.2:80 answers with HTTP 404", ""},
		{"http elsewhere", http01, []any{here, web(301, "")}, "192.0.2.2:80 answers with HTTP 301", ""},
		{"http other", http01, []any{here, web(200, "other")}, "192.0.2.2:80 answers for another order: another device or process is there", ""},
		{"http no way back", http01, []any{silent}, "", "this device cannot reach its own public address: 192.0.2.1:80 does not answer"},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dials atomic.Pointer[[]any]
				dials.Store(&test.dials)
				k, _, log := staged(t, &dials, offline)
				k.names[name] = newEntry(name, nil, nil)
				for range 2 {
					err := k.issuers[0].rehearseAlone(t.Context(), name, test.kind)
					var failed *RehearsalError
					if test.wrong == "" && err != nil || test.wrong != "" && (!errors.As(err, &failed) ||
						!strings.HasPrefix(err.Error(), "nothing is ordered for "+name+": of the addresses that DNS gives, "+test.wrong) ||
						len(hint.All(err)) == 0) {
						t.Errorf("got %v, want %q", err, test.wrong)
					}
				}
				if n := strings.Count(log.String(), "without a whole rehearsal"); test.said == "" && n != 0 || test.said != "" && (n != 1 || !strings.Contains(log.String(), test.said)) {
					t.Errorf("the log, %d times:\n%s", n, log)
				}
				k.Close()
			})
		})
	}
}

// orderingCA is a CA that has an account and gives an order, of which it counts the
// steps: orders and validations.
func orderingCA(orders, asked *atomic.Int32) caFunc {
	const dir = `{"newNonce":"https://ca.test/n","newAccount":"https://ca.test/a","newOrder":"https://ca.test/o"}`
	chal := func(kind string) string {
		return `{"type":"` + kind + `","url":"https://ca.test/c","status":"pending","token":"tok"}`
	}
	authz := `{"status":"pending","identifier":{"type":"dns","value":"` + name + `"},"challenges":[` + chal("http-01") + `,` + chal("tls-alpn-01") + `]}`
	order := `{"status":"pending","identifiers":[{"type":"dns","value":"` + name + `"}],"authorizations":["https://ca.test/z"],"finalize":"https://ca.test/f"}`
	return func(r *http.Request) (*http.Response, error) {
		head := []string{"Content-Type", "application/json", "Replay-Nonce", "n", "Location", "https://ca.test" + r.URL.Path + "/1"}
		switch r.URL.Path {
		case "/a":
			return reply(201, strings.NewReader(`{"status":"valid"}`), head...), nil
		case "/o":
			orders.Add(1)
			return reply(201, strings.NewReader(order), head...), nil
		case "/z":
			return reply(200, strings.NewReader(authz), head...), nil
		case "/c":
			asked.Add(1)
			return reply(403, strings.NewReader(`{"type":"urn:ietf:params:acme:error:unauthorized","status":403}`), "Replay-Nonce", "n"), nil
		}
		return reply(200, strings.NewReader(dir), head...), nil
	}
}

// One address of two that fails keeps the CA from being asked to look, for as long as
// it does, and there is no order at all.
func TestNothingIsOrderedWhileAnAddressFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Pointer[[]any]
		dials.Store(&[]any{"here", refusing})
		var orders, asked atomic.Int32
		k, events, log := staged(t, &dials, orderingCA(&orders, &asked))
		manage(t, k)
		ev := next(events, Failed)
		var failed *RehearsalError
		if !errors.As(ev.Err, &failed) || failed.Name != name || len(failed.Failed) != 1 ||
			failed.Failed[0].Address != netip.MustParseAddrPort("192.0.2.2:443") {
			t.Errorf("failed with %v", ev.Err)
		}
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if asked.Load() != 0 || orders.Load() != 0 {
			t.Errorf("the CA got %d orders, and was asked %d times to look", orders.Load(), asked.Load())
		}
		if n := strings.Count(log.String(), "no certificate obtained"); n < 30 || n > 70 {
			t.Errorf("tried %d times in six hours", n)
		}
		dials.Store(&[]any{"here", "here"})
		time.Sleep(maxUnreached * 5 / 4)
		synctest.Wait()
		if asked.Load() == 0 {
			t.Error("the CA was not asked after the address was mended")
		}
		k.Close()
	})
}

// Where the port for TLS fails at an address, that for HTTP has to answer at each: that
// it cannot be reached is not enough then.
func TestTheOtherKindOfValidationIsRehearsedToo(t *testing.T) {
	for _, test := range []struct {
		plain any // at port 80 of the second address
		asked bool
	}{{"here", true}, {refusing, false}} {
		synctest.Test(t, func(t *testing.T) {
			var dials atomic.Pointer[[]any]
			dials.Store(&[]any{"here", "here"})
			var orders, asked atomic.Int32
			k, events, _ := staged(t, &dials, orderingCA(&orders, &asked))
			at := k.cfg.Rehearsal.Dial
			k.cfg.Rehearsal.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
				if a.Port() == 443 && a.Addr().As4()[3] == 2 {
					return refusing(ctx)
				}
				if dial, ok := test.plain.(func(context.Context) (net.Conn, error)); ok && a.Port() == 80 {
					return dial(ctx) // at both
				}
				return at(ctx, a)
			}
			manage(t, k)
			ev := next(events, Failed)
			if (asked.Load() > 0) != test.asked {
				t.Errorf("asked %d times to look", asked.Load())
			}
			if errors.As(ev.Err, new(*RehearsalError)) == test.asked {
				t.Errorf("failed with %v", ev.Err)
			}
			k.Close()
		})
	}
}

// What fails only once there is an order keeps the CA from being asked to look, too:
// what has to answer then is the order's own key authorization.
func TestTheOrdersOwnKeyAuthorizationIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Pointer[[]any]
		dials.Store(&[]any{"here", "here"})
		var orders, asked, late atomic.Int32
		k, events, _ := staged(t, &dials, orderingCA(&orders, &asked))
		at := k.cfg.Rehearsal.Dial
		other := serving(challenged(t, name, "tok.other"))
		k.cfg.Rehearsal.Dial = func(ctx context.Context, a netip.AddrPort) (net.Conn, error) {
			if orders.Load() > 0 && a.Addr().As4()[3] == 2 && a.Port() == 443 {
				late.Add(1)
				return other(ctx)
			}
			return at(ctx, a)
		}
		k.cfg.NoHTTP01 = true
		k.issuers[0].cfg.NoHTTP01 = true
		manage(t, k)
		ev := next(events, Failed)
		if !errors.As(ev.Err, new(*RehearsalError)) || !strings.Contains(ev.Err.Error(), "192.0.2.2:443 answers for another order") {
			t.Errorf("failed with %v", ev.Err)
		}
		if orders.Load() != 1 || late.Load() != 1 || asked.Load() != 0 {
			t.Errorf("%d orders, dialled %d times for it, asked %d times to look", orders.Load(), late.Load(), asked.Load())
		}
		k.Close()
	})
}

// No other CA would find this device either, so none is asked.
func TestNoOtherCAIsAskedWhileAnAddressFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Pointer[[]any]
		dials.Store(&[]any{"here", refusing})
		var orders, asked, other atomic.Int32
		first := orderingCA(&orders, &asked)
		k, _, _ := staged(t, &dials, func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "second.test" {
				other.Add(1)
			}
			return first(r)
		}, "https://second.test")
		manage(t, k)
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked.Load() != 0 || other.Load() != 0 {
			t.Errorf("asked %d times to look, and the other CA %d times for anything", asked.Load(), other.Load())
		}
		dials.Store(&[]any{"here"})
		time.Sleep(maxUnreached * 5 / 4)
		synctest.Wait()
		if asked.Load() == 0 || other.Load() == 0 {
			t.Errorf("then asked %d and %d times", asked.Load(), other.Load())
		}
		k.Close()
	})
}

// With the rehearsal turned off nothing is dialled, and DNS is not asked.
func TestWithoutARehearsalTheCAIsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var orders, asked atomic.Int32
		k, events := newKeeper(t, Config{}, orderingCA(&orders, &asked))
		manage(t, k)
		next(events, Failed)
		if asked.Load() == 0 {
			t.Error("the CA was not asked to look")
		}
		k.Close()
	})
}

// A rehearsal may be mistaken, and must not end what a CA would go on with: where the
// certificate is about to run out, the CA is asked all the same.
func TestFailedRehearsalLetsNoCertificateRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Pointer[[]any]
		dials.Store(&[]any{web(200, "a router")})
		var orders, asked atomic.Int32
		k, _, log := staged(t, &dials, orderingCA(&orders, &asked))
		put(t, k, time.Now(), time.Now().Add(90*time.Hour))
		manage(t, k)
		time.Sleep(80 * time.Hour)
		synctest.Wait()
		if orders.Load() != 0 {
			t.Errorf("%d orders while there is time", orders.Load())
		}
		time.Sleep(2 * time.Hour)
		k.Close()
		synctest.Wait() // nothing is logged from now on
		if asked.Load() == 0 {
			t.Errorf("%d orders, and the CA was asked %d times to look", orders.Load(), asked.Load())
		}
		for _, want := range []string{"no certificate obtained", "the CA is asked all the same"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log)
			}
		}
	})
}
