package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"keystay/acme"
	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/hint"
	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/remote"
	"keystay/remote/watch/ct"
)

// A ward is a device for a doctor, on which all is well but what a test has broken.
type ward struct {
	*doctor
	dir  string
	leaf *x509.Certificate // of xyz.relay.test
	ca   *testca.CA
}

// newWard returns one that is configured with these arguments, too.
func newWard(t *testing.T, args ...string) *ward {
	t.Helper()
	ca := testca.New(t)
	w := &ward{dir: t.TempDir(), ca: ca}
	_ = os.Chmod(w.dir, 0o700)
	if _, _, err := remote.Identity(w.dir); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(remote.ACMEDir(w.dir), "certificates", "ca.test-dir", "xyz.relay.test")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := ca.Files(t.TempDir(), "xyz.relay.test")
	for from, to := range map[string]string{certFile: ".crt", keyFile: ".key"} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "xyz.relay.test"+to), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	if !slices.Contains(args, "--ct") {
		args = append(args, "--ct", "https://monitor.test/v1/issuances")
	}
	if err := fs.Parse(append([]string{"--domain", "xyz.relay.test", "--local", "3000", "--relay", "relay.test", "--state-dir", w.dir,
		"--acme-ca", "https://ca.test/dir", "--proxy", "none"}, args...)); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.LoadRemote(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.doctor, err = newDoctor(cfg); err != nil {
		t.Fatal(err)
	}
	s, err := acme.LookUp(acme.Config{Dir: remote.ACMEDir(w.dir), CA: "https://ca.test/dir"}, "xyz.relay.test")
	if err != nil {
		t.Fatal(err)
	}
	w.leaf = s.Leaf
	w.senses = w.well()
	return w
}

// well are senses by which all is well.
func (w *ward) well() senses {
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	return senses{
		now:    time.Now,
		proxy:  func(string) (*url.URL, error) { return nil, nil },
		lookup: func(context.Context, string) ([]netip.Addr, error) { return addresses, nil },
		dial: func(context.Context, string) (net.Conn, error) {
			a, b := net.Pipe()
			_ = b.Close()
			return a, nil
		},
		fetch: func(_ context.Context, at, _ string, _ *x509.CertPool) (*fetched, error) {
			f := &fetched{status: 200, date: time.Now(), leaf: w.leaf, body: []byte(`{"newOrder":"x"}`)}
			if strings.HasSuffix(at, "keystay.json") {
				f.body = []byte(`{"keystay":1,"domain":"relay.test","public_port":443,"policy":"open","version":"1"}`)
			}
			return f, nil
		},
		link: func(context.Context, remote.Route) (remote.TriedLink, error) {
			return remote.TriedLink{Relay: "relay.test", Own: true, Transport: remote.TransportTLS, PublicPort: 443, Names: 1024, Took: time.Second}, nil
		},
		visit: func(context.Context, string, int) ([]acme.Answer, error) {
			return []acme.Answer{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Leaf: w.leaf}}, nil
		},
		caa: func(context.Context, string) (domainproof.CAA, error) { return domainproof.CAA{}, nil },
		records: func(context.Context, string, []string) (*records, error) {
			return &records{Domain: "app.example.test", Relays: []string{"relay.test"}, Proven: true, Reached: true, OperatorProof: true}, nil
		},
		ct: func(context.Context, ct.Name) (ct.State, error) {
			key := statement.KeyOf(w.leaf)
			return ct.State{Seen: []string{hex.EncodeToString(key[:])}}, nil
		},
		running: func(string) int { return 1 },
		service: func(context.Context, config.Service, string) error { return nil },
	}
}

var errAway = &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// fetching changes what is fetched of the relay, or of the CA.
func (w *ward) fetching(suffix string, change func(*fetched) error) {
	before := w.senses.fetch
	w.senses.fetch = func(ctx context.Context, at, address string, roots *x509.CertPool) (*fetched, error) {
		f, err := before(ctx, at, address, roots)
		if strings.HasSuffix(at, suffix) {
			err = change(f)
		}
		if err != nil {
			return nil, err
		}
		return f, nil
	}
}

// How what is fetched ends: what the relay says of itself, and the CA's directory.
const relayPage, caPage = "keystay.json", "/dir"

// caIs makes the CA say by which name CAA records have it.
func (w *ward) caIs(name string) {
	w.fetching(caPage, func(f *fetched) error {
		f.body = fmt.Appendf(nil, `{"newOrder":"x","meta":{"caaIdentities":[%q]}}`, name)
		return nil
	})
}

// issue are the CAA records of the relay's zone.
func (w *ward) issue(list ...domainproof.Issue) {
	w.senses.caa = func(context.Context, string) (domainproof.CAA, error) {
		return domainproof.CAA{At: "relay.test", Issue: list}, nil
	}
}

// openWord is a word of a hint that is to be replaced by what it is here.
var openWord = regexp.MustCompile(`\b(HOST|NAME|RELAY|ZONE|DIR)\b`)

// Each step is broken alone, and then exactly that is told: the step itself with what to
// do, and what could not be looked at for its sake as not looked at.
func TestADoctorFindsWhatIsBroken(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		broken func(*ward)
		want   []string // the findings that are not ok, as in "wrong link", in their order
		says   string   // in one of them
	}{
		"nothing": {nil, func(*ward) {}, []string{"not_run proxy"}, "none is set"},
		"clock ahead": {nil, func(w *ward) { w.senses.now = func() time.Time { return time.Now().Add(5 * time.Minute) } },
			[]string{"wrong clock", "not_run proxy"}, "this machine's clock says"},
		"clock so wrong that nobody is trusted": {nil, func(w *ward) {
			for _, page := range []string{relayPage, caPage} {
				w.fetching(page, func(f *fetched) error {
					f.date, f.invalid = time.Now().Add(10000*time.Hour), x509.CertificateInvalidError{Reason: x509.Expired, Cert: f.leaf}
					return nil
				})
			}
		}, []string{"wrong clock", "not_run proxy", "wrong relay_certificate", "wrong ca"}, "relay.test says"},
		"nobody tells the time": {nil, func(w *ward) {
			for _, page := range []string{relayPage, caPage} {
				w.fetching(page, func(f *fetched) error { f.date = time.Time{}; return nil })
			}
		}, []string{"not_run clock", "not_run proxy"}, "neither a relay nor a CA"},
		"state open": {nil, func(w *ward) { _ = os.Chmod(w.dir, 0o755) }, []string{"wrong state", "not_run proxy"}, "every user of this machine"},
		"a key open": {nil, func(w *ward) { _ = os.Chmod(filepath.Join(w.dir, "identity.pem"), 0o604) }, []string{"wrong state", "not_run proxy"}, "identity.pem"},
		"identity broken": {nil, func(w *ward) { _ = os.WriteFile(filepath.Join(w.dir, "identity.pem"), []byte("x"), 0o600) },
			[]string{"wrong state", "wrong name"}, "holds no Ed25519 key"},
		"relay without an address": {nil, func(w *ward) {
			w.senses.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}
		}, []string{"not_run proxy", "wrong relay_dns", "not_run ipv4", "not_run ipv6", "not_run round_trip", "wrong name_dns"}, "has no address"},
		"DNS away": {nil, func(w *ward) {
			w.senses.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
			}
		}, []string{"not_run proxy", "wrong relay_dns", "not_run ipv4", "not_run ipv6", "not_run round_trip", "wrong name_dns"}, "says nothing: i/o timeout"},
		"no IPv6 here": {nil, func(w *ward) {
			before := w.senses.dial
			w.senses.dial = func(ctx context.Context, address string) (net.Conn, error) {
				if strings.HasPrefix(address, "[") {
					return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}
				}
				return before(ctx, address)
			}
		}, []string{"not_run proxy", "not_run ipv6"}, "no way to such addresses"},
		"port shut": {nil, func(w *ward) {
			w.senses.dial = func(context.Context, string) (net.Conn, error) { return nil, errAway }
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{}, &remote.NoRelayError{Relay: "relay.test", Err: errAway}
			}
			w.fetching(relayPage, func(*fetched) error { return errAway })
		}, []string{"not_run proxy", "wrong ipv4", "wrong ipv6", "not_run round_trip", "not_run relay_certificate", "not_run relay_policy", "wrong link", "not_run packets", "not_run limits"}, "192.0.2.1:443 takes no connection"},
		"proxy": {nil, func(w *ward) {
			w.senses.proxy = func(string) (*url.URL, error) { return url.Parse("http://me:secret@proxy.test:3128") }
		}, []string{"not_run relay_dns", "not_run ipv4", "not_run ipv6", "not_run round_trip"}, "the proxy looks names up"},
		"proxy broken": {nil, func(w *ward) {
			w.senses.proxy = func(string) (*url.URL, error) { return url.Parse("http://me:secret@proxy.test:3128") }
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{}, &remote.NoRelayError{Relay: "relay.test", Err: errAway}
			}
			w.fetching(relayPage, func(*fetched) error { return errAway })
		}, []string{"wrong proxy", "not_run relay_dns", "not_run ipv4", "not_run ipv6", "not_run round_trip", "not_run relay_certificate", "not_run relay_policy", "wrong link", "not_run packets", "not_run limits"}, "nothing gets through http://proxy.test:3128"},
		"proxy that cannot be chosen": {nil, func(w *ward) { w.senses.proxy = func(string) (*url.URL, error) { return nil, errors.New("bad") } },
			[]string{"wrong proxy", "not_run relay_dns", "not_run ipv4", "not_run ipv6", "not_run round_trip"}, "bad"},
		"no such program for an alarm": {[]string{"--on-intercept-run", "/no/such/program"}, func(*ward) {},
			[]string{"wrong alarm", "not_run proxy"}, "each word behind it has a flag of its own"},
		"relay untrusted": {nil, func(w *ward) {
			w.fetching(relayPage, func(f *fetched) error { f.invalid = x509.UnknownAuthorityError{}; return nil })
		}, []string{"not_run proxy", "wrong relay_certificate"}, "unknown authority"},
		"relay expired": {nil, func(w *ward) {
			w.fetching(relayPage, func(f *fetched) error {
				f.invalid = x509.CertificateInvalidError{Reason: x509.Expired, Cert: &x509.Certificate{}}
				return nil
			})
		}, []string{"not_run proxy", "wrong relay_certificate"}, "the relay's certificate has expired on"},
		"no relay": {nil, func(w *ward) { w.fetching(relayPage, func(f *fetched) error { f.status = 404; return nil }) },
			[]string{"not_run proxy", "wrong relay_policy"}, "HTTP 404"},
		"banned": {nil, func(w *ward) {
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{}, &framing.Refusal{Code: framing.RefusedBanned, Text: "banned"}
			}
		}, []string{"not_run proxy", "wrong link", "not_run packets", "not_run limits"}, "banned"},
		"packets lost": {nil, func(w *ward) {
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{Relay: "relay.test", Own: true, Small: true, Names: 64}, nil
			}
		}, []string{"not_run proxy", "wrong packets"}, "only a small first message"},
		"node away": {nil, func(w *ward) {
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{Relay: "relay.test", Own: true, Names: 64, Nodes: []remote.TriedNode{{Name: "eu-1", Own: true, Takes: true}, {Name: "eu-2", Err: errAway}}}, nil
			}
		}, []string{"not_run proxy", "wrong nodes"}, "node eu-2 is not reached at its own address: "},
		"token wanted": {nil, func(w *ward) {
			w.fetching(relayPage, func(f *fetched) error { f.body = []byte(`{"keystay":1,"policy":"token"}`); return nil })
		}, []string{"not_run proxy", "wrong limits"}, "there is no token for xyz.relay.test"},
		"too many names": {[]string{"--domain", "two.relay.test"}, func(w *ward) {
			w.senses.link = func(context.Context, remote.Route) (remote.TriedLink, error) {
				return remote.TriedLink{Relay: "relay.test", Own: true, Names: 1}, nil
			}
		}, []string{"not_run proxy", "wrong limits", "wrong rehearsal", "not_run certificate", "not_run ct"}, "2 names are wanted, and one link holds 1"},
		"CA away": {nil, func(w *ward) { w.fetching(caPage, func(*fetched) error { return errAway }) }, []string{"not_run proxy", "wrong ca"}, "connection refused"},
		"no CA":   {nil, func(w *ward) { w.fetching(caPage, func(f *fetched) error { f.body = nil; return nil }) }, []string{"not_run proxy", "wrong ca"}, "there is no directory"},
		"CA feint": {nil, func(w *ward) {
			w.fetching(caPage, func(f *fetched) error { f.invalid = x509.UnknownAuthorityError{}; return nil })
		}, []string{"not_run proxy", "wrong ca"}, "unknown authority"},
		"name leads elsewhere": {nil, func(w *ward) {
			before := w.senses.lookup
			w.senses.lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
				if host == "xyz.relay.test" {
					return []netip.Addr{netip.MustParseAddr("198.51.100.1")}, nil
				}
				return before(ctx, host)
			}
		}, []string{"not_run proxy", "wrong name_dns"}, "none of it is an address of relay.test"},
		"foreign key": {nil, func(w *ward) {
			w.senses.visit = func(context.Context, string, int) ([]acme.Answer, error) {
				return []acme.Answer{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Leaf: w.ca.Issue("xyz.relay.test").Leaf}, {Address: netip.MustParseAddrPort("192.0.2.2:443"), Leaf: w.leaf}}, nil
			}
		}, []string{"not_run proxy", "wrong rehearsal"}, "192.0.2.1:443 shows the key sha256:"},
		"an address without a link": {nil, func(w *ward) {
			w.senses.visit = func(context.Context, string, int) ([]acme.Answer, error) {
				return []acme.Answer{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Leaf: w.leaf}, {Address: netip.MustParseAddrPort("192.0.2.2:443"), Why: "does not know the name"}}, nil
			}
		}, []string{"not_run proxy", "wrong rehearsal"}, "192.0.2.2:443 does not know the name"},
		"nothing runs": {nil, func(w *ward) {
			w.senses.running = func(string) int { return 0 }
			w.senses.visit = func(context.Context, string, int) ([]acme.Answer, error) {
				return []acme.Answer{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Why: "does not know the name"}}, nil
			}
		}, []string{"not_run proxy", "not_run rehearsal"}, "no remote serves the name from here now"},
		"hairpin": {nil, func(w *ward) {
			w.senses.visit = func(context.Context, string, int) ([]acme.Answer, error) {
				return []acme.Answer{{Address: netip.MustParseAddrPort("192.0.2.1:443"), Why: "does not answer", Away: true}}, nil
			}
		}, []string{"not_run proxy", "not_run rehearsal"}, "cannot reach the name's public address"},
		"no address to visit": {nil, func(w *ward) {
			w.senses.visit = func(context.Context, string, int) ([]acme.Answer, error) {
				return nil, errors.New("DNS gives no address")
			}
		}, []string{"not_run proxy", "not_run rehearsal"}, "DNS gives no address"},
		"no certificate": {nil, func(w *ward) { _ = os.RemoveAll(filepath.Join(remote.ACMEDir(w.dir), "certificates")) },
			[]string{"not_run proxy", "wrong rehearsal", "not_run certificate", "not_run ct"}, "there is none yet"},
		"renewal overdue": {nil, func(w *ward) {
			w.senses.now = func() time.Time { return time.Now().Add(100 * time.Hour) }
			for _, page := range []string{relayPage, caPage} {
				w.fetching(page, func(f *fetched) error { f.date = time.Now().Add(100 * time.Hour); return nil })
			}
		}, []string{"not_run proxy", "wrong certificate"}, "it is due for renewal since"},
		"CAA forbids": {nil, func(w *ward) {
			w.senses.caa = func(context.Context, string) (domainproof.CAA, error) {
				return domainproof.CAA{At: "relay.test", Issue: []domainproof.Issue{{CA: "", Account: ""}}}, nil
			}
		}, []string{"not_run proxy", "wrong caa"}, "the CAA records at relay.test let no account"},
		"CAA names another CA": {nil, func(w *ward) {
			w.caIs("ca.test")
			w.issue(domainproof.Issue{CA: "other.test"})
		}, []string{"not_run proxy", "wrong caa"}, "the CAA records at relay.test let none of ca.test issue"},
		"CAA names the CA for another account": {nil, func(w *ward) {
			w.caIs("ca.test")
			w.issue(domainproof.Issue{CA: "other.test"}, domainproof.Issue{CA: "ca.test", Account: "https://ca.test/acct/2"})
		}, []string{"not_run proxy", "wrong caa"}, "the CAA records at relay.test let none of ca.test issue"},
		"CAA names the CA": {nil, func(w *ward) {
			w.caIs("CA.test")
			w.issue(domainproof.Issue{CA: "other.test"}, domainproof.Issue{CA: "ca.test"})
		}, []string{"not_run proxy"}, ""},
		"the CA has no name for CAA": {nil, func(w *ward) { w.issue(domainproof.Issue{CA: "other.test"}) },
			[]string{"not_run proxy", "not_run caa"}, "how they name the CA is not known"},
		"CAA unanswered": {nil, func(w *ward) {
			w.senses.caa = func(context.Context, string) (domainproof.CAA, error) { return domainproof.CAA{}, &domainproof.Error{} }
		}, []string{"not_run proxy", "wrong caa"}, ""},
		"CT foreign": {nil, func(w *ward) {
			w.senses.ct = func(context.Context, ct.Name) (ct.State, error) {
				return ct.State{Foreign: []ct.Foreign{{Key: "ab", ID: "77"}}}, nil
			}
		}, []string{"not_run proxy", "wrong ct"}, "sha256:ab (issuance 77)"},
		"CT blind": {nil, func(w *ward) {
			w.senses.ct = func(context.Context, ct.Name) (ct.State, error) { return ct.State{Blind: time.Now()}, nil }
		}, []string{"not_run proxy", "wrong ct"}, "the watch does not work since"},
		"CT away": {nil, func(w *ward) {
			w.senses.ct = func(context.Context, ct.Name) (ct.State, error) { return ct.State{}, errAway }
		}, []string{"not_run proxy", "wrong ct"}, "connection refused"},
		"CT late": {nil, func(w *ward) {
			w.senses.ct = func(context.Context, ct.Name) (ct.State, error) { return ct.State{}, nil }
		}, []string{"not_run proxy", "not_run ct"}, "does not show this device's own certificate yet"},
		"CT off":             {[]string{"--ct", "off"}, func(*ward) {}, []string{"not_run proxy", "not_run ct"}, "it is turned off"},
		"CT of a replica":    {[]string{"--ct", "auto", "--replica"}, func(*ward) {}, []string{"not_run proxy", "not_run ct"}, "this is a replica"},
		"CT of a private CA": {[]string{"--ct", "auto"}, func(*ward) {}, []string{"not_run proxy", "not_run ct"}, "the CA is not known to publish its certificates"},
		"service away": {nil, func(w *ward) {
			w.senses.service = func(context.Context, config.Service, string) error { return hint.ServiceStopped.Error(errAway) }
		}, []string{"not_run proxy", "wrong service"}, "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, c.args...)
			c.broken(w)
			found := w.examine(t.Context())
			var got, texts []string
			for _, f := range found.Steps {
				if f.State == cli.FoundOK {
					continue
				}
				got, texts = append(got, f.State+" "+f.Step), append(texts, f.Detail, strings.Join(f.Hints, "\n"))
				if hints := strings.Join(f.Hints, "\n"); openWord.MatchString(hints) {
					t.Errorf("%s has a hint with a word to be filled in: %s", f.Step, hints)
				}
				if f.State == cli.FoundNotRun && f.Detail == "" {
					t.Errorf("%s does not say why", f.Step)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q\n%q", got, c.want, texts)
			}
			if all := strings.Join(texts, "\n"); !strings.Contains(all, c.says) || strings.Contains(all, "secret") {
				t.Errorf("%q is not said in\n%s", c.says, all)
			}
			if wrong := slices.ContainsFunc(c.want, func(s string) bool { return strings.HasPrefix(s, "wrong") }); found.OK == wrong || found.Wrong() > 0 != wrong {
				t.Errorf("ok %v, %d wrong", found.OK, found.Wrong())
			}
		})
	}
}

// A domain of one's own has other records, and is operator-proof or not.
func TestADoctorLooksAtADomainOfOnesOwn(t *testing.T) {
	for name, c := range map[string]struct {
		records records
		err     error
		want    string // of name_dns and caa
		says    string
	}{
		"operator-proof": {records{Proven: true, Reached: true, OperatorProof: true, CAA: caaRecords{CAA: domainproof.CAA{Authenticated: true}}}, nil, "ok ok", "operator-proof, as the DNS server says, which has checked"},
		"no DNSSEC":      {records{Proven: true, Reached: true, OperatorProof: true, Notes: []string{"the DNS server has not checked"}}, nil, "ok ok", "the DNS server has not checked"},
		"no CAA record":  {records{Proven: true, Reached: true}, nil, "ok ok", "not operator-proof: "},
		"a CNAME":        {records{Proven: true, Reached: true, Notes: []string{"a CNAME leads to x"}}, nil, "ok ok", "a CNAME leads to x"},
		"not proven":     {records{Reached: true}, nil, "wrong ok", "DNS does not say that it is this device's"},
		"forbidden":      {records{Proven: true, Reached: true, CAA: caaRecords{Forbidden: true, CAA: domainproof.CAA{At: "example.test", Issue: []domainproof.Issue{{Text: ";"}}}}}, nil, "ok wrong", "the CAA records at example.test let no account"},
		"another CA":     {records{Proven: true, Reached: true, CAA: caaRecords{CAA: domainproof.CAA{At: "example.test", Issue: []domainproof.Issue{{CA: "other.test"}}}}}, nil, "ok wrong", "the CAA records at example.test let none of ca.test issue"},
		"DNS away":       {records{}, hint.DNSFails.Error(errors.New("SERVFAIL")), "wrong not_run", "SERVFAIL"},
		"no key yet":     {records{}, remote.ErrNoIdentity, "not_run not_run", "before there is a key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t, "--domain", "app.example.test")
			w.caIs("ca.test")
			c.records.Domain, c.records.Relays = "app.example.test", []string{"relay.test"}
			w.senses.records = func(context.Context, string, []string) (*records, error) { return &c.records, c.err }
			var got, texts []string
			for _, f := range w.examine(t.Context()).Steps {
				if f.About == "app.example.test" && (f.Step == "name_dns" || f.Step == "caa") {
					got, texts = append(got, f.State), append(texts, f.Detail)
				}
			}
			if strings.Join(got, " ") != c.want || !strings.Contains(strings.Join(texts, "\n"), c.says) {
				t.Errorf("%q, %q", got, texts)
			}
		})
	}
}

// What a person reads, and what a program reads.
func TestADiagnosisIsShown(t *testing.T) {
	d := cli.Found([]cli.Finding{
		cli.Fine("clock", "", "right"),
		cli.NotRun("proxy", "relay.test", "none is set"),
		cli.Amiss("link", "relay.test", hint.DoctorFails.Error(errors.New("\x1b[31mred"))),
	})
	var text bytes.Buffer
	d.Write(&text)
	want := "ok  clock: right\n--  proxy relay.test: none is set\n!!  link relay.test: "
	if got := text.String(); !strings.HasPrefix(got, want) || strings.Contains(got, "\x1b") || !strings.Contains(got, "\n    hint: the lines with !!") {
		t.Errorf("%q", got)
	}
	b, err := json.Marshal(d)
	if err != nil || !strings.Contains(string(b), `{"step":"proxy","about":"relay.test","state":"not_run","detail":"none is set"}`) {
		t.Errorf("%s, %v", b, err)
	}
}
