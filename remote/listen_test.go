package remote_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"keystay/framing"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/testca"
	"keystay/remote"
)

func TestListenClaimsTheNameAndServes(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.Token = "let me in"
	r.set(nil, func(name, token string) error {
		if name != domain || token != "let me in" {
			t.Errorf("claim of %s with %q", name, token)
		}
		return nil
	})
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	if ln.Domain() != domain || ln.URL() != "https://xyz.relay.test:8443" ||
		ln.Addr().String() != "xyz.relay.test:8443" || ln.Addr().Network() != "keystay" {
		t.Errorf("%s, %s, %v", ln.Domain(), ln.URL(), ln.Addr())
	}
	link := r.next()
	if link.hello.Agent != "keystay-remote/test" || link.hello.Run.Number != 1 {
		t.Errorf("hello %+v", link.hello)
	}
	go func() {
		c, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		if _, ok := c.(*tls.Conn); !ok || c.RemoteAddr().String() != visitorAddr.String() {
			t.Errorf("accepted %T from %v", c, c.RemoteAddr())
		}
		io.Copy(c, c)
		c.Close()
	}()
	v := link.visitor()
	io.WriteString(v, "hello")
	v.CloseWrite()
	if b, err := io.ReadAll(v); string(b) != "hello" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// A listener without a port in its URL: the relay has the usual one, or has not
// been reached.
func TestURLBeforeTheRelayIsReached(t *testing.T) {
	r := newRelay(t)
	r.close()
	ln := r.listen(r.config())
	if ln.URL() != "https://xyz.relay.test" || ln.Addr().String() != "xyz.relay.test:443" {
		t.Errorf("%s, %v", ln.URL(), ln.Addr())
	}
}

// What the relay refuses for good ends the listener, and Accept and Wait say so.
func TestFinalRefusalEndsTheListener(t *testing.T) {
	r := newRelay(t)
	denial := func(code framing.DenialCode) func(string, string) error {
		return func(string, string) error { return &framing.Denial{Code: code, Text: "no"} }
	}
	for name, c := range map[string]struct {
		refuse *framing.Refusal
		claim  func(string, string) error
	}{
		"proof":    {&framing.Refusal{Code: framing.RefusedProof, Text: "no"}, nil},
		"banned":   {&framing.Refusal{Code: framing.RefusedBanned, Text: "no"}, nil},
		"taken":    {nil, denial(framing.DeniedTaken)},
		"token":    {nil, denial(framing.DeniedToken)},
		"replaced": {nil, denial(framing.DeniedReplaced)},
	} {
		t.Run(name, func(t *testing.T) {
			r.set(c.refuse, c.claim)
			ln := r.listen(r.config())
			for _, err := range []error{ended(t, ln), wait(t, ln)} {
				var refusal *framing.Refusal
				var denied *framing.Denial
				if c.refuse != nil && (!errors.As(err, &refusal) || *refusal != *c.refuse) ||
					c.claim != nil && (!errors.As(err, &denied) || denied.Name != domain) {
					t.Errorf("got %v", err)
				}
			}
			if err := ln.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
}

// What may pass is tried again.
func TestPassingRefusalIsTriedAgain(t *testing.T) {
	r := newRelay(t)
	var asked atomic.Int32
	r.set(nil, func(string, string) error {
		switch asked.Add(1) {
		case 1:
			return &framing.Denial{Code: framing.DeniedLimit, Text: "later"}
		case 2:
			return errors.New("the disk is full")
		}
		return nil
	})
	ln := r.listen(r.config())
	if err := wait(t, ln); err != nil || asked.Load() != 3 {
		t.Errorf("%v after %d claims", err, asked.Load())
	}
}

// A run that is replaced stops, and says why.
func TestReplacedRunStopsAndSaysWhy(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	link := r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	link.Revoke(framing.Denial{Name: domain, Code: framing.DeniedReplaced, Text: "a newer run"})
	var d *framing.Denial
	if err := ended(t, ln); !errors.As(err, &d) || d.Code != framing.DeniedReplaced {
		t.Errorf("Accept: %v", err)
	}
	<-link.Done()
	if len(r.up) > 0 {
		t.Error("it came back")
	}
}

// A link that is lost is replaced by another one of the same run.
func TestLostLinkIsReplacedByTheSameRun(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	first := r.next()
	s := first.open("another.relay.test", framing.KindTLS)
	first.conn.(*net.TCPConn).SetLinger(0)
	first.conn.Close()
	second := r.next()
	if first.hello.Run != second.hello.Run || !first.hello.Key.Equal(second.hello.Key) {
		t.Errorf("run %+v, then %+v", first.hello.Run, second.hello.Run)
	}
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a stream of the lost link: %v", err)
	}
	go func() {
		c, err := ln.Accept()
		if err == nil {
			io.WriteString(c, "again")
			c.Close()
		}
	}()
	if b, err := io.ReadAll(second.visitor()); string(b) != "again" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// When the relay goes away in good order, the remote links anew and serves the
// visitors of the old link to their end.
func TestRemoteLinksAnewWhenTheRelayDrains(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	first := r.next()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			accepted <- c
		}
	}()
	v := first.visitor()
	c := <-accepted
	if err := first.GoAway(t.Context(), framing.GoAway{}); err != nil {
		t.Fatal(err)
	}
	r.next()
	io.WriteString(c, "still here")
	c.Close()
	if b, err := io.ReadAll(v); string(b) != "still here" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// Streams that are not for this listener are refused.
func TestStreamsForAnotherNameAreRefused(t *testing.T) {
	r := newRelay(t)
	r.listen(r.config())
	link := r.next()
	for name, s := range map[string]*framing.Stream{
		"another name":               link.open("another.relay.test", framing.KindTLS),
		"HTTP-01 where no ACME runs": link.open(domain, framing.KindHTTP01),
		"an unknown kind":            link.open(domain, 9),
	} {
		var re *framing.ResetError
		if _, err := s.Read(make([]byte, 1)); !errors.As(err, &re) || re.Code != framing.ResetRefused {
			t.Errorf("%s: %v, want refused", name, err)
		}
	}
	// What is no TLS ends, and harms nobody.
	s := link.open(domain, framing.KindTLS)
	io.WriteString(s, "GET / HTTP/1.0\r\n\r\n")
	io.Copy(io.Discard, s)
	if link.Err() != nil {
		t.Error(link.Err())
	}
}

// Closing tells the relay and takes no new visitors; Shutdown waits for those
// that were accepted.
func TestShutdownWaitsForAcceptedVisitors(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	link := r.next()
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := ln.Accept(); accepted <- c }()
	v := link.visitor()
	c := <-accepted
	done := make(chan error, 1)
	go func() { done <- ln.Shutdown(t.Context()) }()
	if g := <-link.goAway; g.Code != framing.GoAwayShutdown {
		t.Errorf("%+v", g)
	}
	if err := ended(t, ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := wait(t, ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Wait: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("Shutdown did not wait: %v", err)
	default:
	}
	io.WriteString(c, "last words")
	c.Close()
	if b, err := io.ReadAll(v); string(b) != "last words" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	v.Close()
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	<-link.Done()
}

func TestShutdownCutsByAReset(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	link := r.next()
	go ln.Accept()
	v := link.visitor()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ln.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := io.Copy(io.Discard, v); err == nil {
		t.Error("the cut looks like an end")
	}
}

// Two runs may share a state directory for two names, not for one.
func TestSharedStateDir(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	ln := r.listen(cfg)
	one := r.next()
	var inUse *remote.InUseError
	if _, err := remote.Listen(cfg); !errors.As(err, &inUse) || inUse.Name != domain {
		t.Errorf("a second run: %v", err)
	}
	other := cfg
	other.Domain = "abc.relay.test"
	r.listen(other)
	two := r.next()
	if !one.hello.Key.Equal(two.hello.Key) || two.hello.Run.Number <= one.hello.Run.Number {
		t.Errorf("runs %+v and %+v", one.hello.Run, two.hello.Run)
	}
	end(ln)
	r.listen(cfg) // the name is free again
}

// Without a domain the name is made from the key, and without a relay it is the
// one of the first success.
func TestNameFromKey(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.Domain, cfg.Relays = "", []string{zone}
	claims := make(chan string, 4)
	r.set(nil, func(name, _ string) error { claims <- name; return nil })
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	want := keyname.Label(r.next().hello.Key, "") + "." + zone
	if got := <-claims; got != want || ln.Domain() != want {
		t.Errorf("claimed %s, serves %s, want %s", got, ln.Domain(), want)
	}
	end(ln)
	cfg.Relays = nil
	if ln := r.listen(cfg); ln.Domain() != want {
		t.Errorf("the next start serves %s", ln.Domain())
	}
}

func TestListenWithoutARelayIsAnError(t *testing.T) {
	for _, cfg := range []remote.Config{{}, {Domain: "relay.net"}, {Domain: "xyz.github.io"}} {
		cfg.StateDir = t.TempDir()
		if _, err := remote.Listen(cfg); !errors.Is(err, remote.ErrNoRelay) {
			t.Errorf("%q: %v", cfg.Domain, err)
		}
	}
	if _, err := remote.Listen(remote.Config{Domain: domain}); err == nil {
		t.Error("no state directory")
	}
	dir := t.TempDir()
	remote.Listen(remote.Config{StateDir: dir})
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("a mistake of usage left %v, %v", left, err)
	}
}

// Wait says what is missing, and an unreachable relay what to do.
func TestWaitSaysWhatIsMissing(t *testing.T) {
	r := newRelay(t)
	closed := newRelay(t)
	closed.close()
	stranger := testca.New(t)
	other := tlsServer(t, &tls.Config{Certificates: []tls.Certificate{r.ca.Issue(zone)}, NextProtos: []string{"h2"}})
	bare := tlsServer(t, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none yet") }})
	for name, c := range map[string]struct {
		change func(*remote.Config)
		is     func(error) bool
		hint   string
	}{
		"closed port": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{closed.addr} },
			func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, "nothing listens there"},
		"unknown CA": {func(cfg *remote.Config) { cfg.RelayRoots = stranger.Pool() },
			func(err error) bool { return errors.As(err, new(x509.UnknownAuthorityError)) }, "--relay-root"},
		"another name": {func(cfg *remote.Config) { cfg.Relays = []string{"wrong.test"} },
			func(err error) bool { return errors.As(err, new(x509.HostnameError)) }, "--relay-address"},
		"not a relay": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{other} },
			func(err error) bool { return err != nil }, "no keystay relay"},
		"no certificate yet": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{bare} },
			func(err error) bool { return strings.Contains(err.Error(), "the relay has no certificate yet") }, "its own log"},
		"no address": {func(cfg *remote.Config) { cfg.RelayAddresses = []string{"relay.invalid:443"} },
			func(err error) bool { return errors.As(err, new(*net.DNSError)) }, "--relay-address"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := r.config()
			c.change(&cfg)
			logged := make(lines, 16)
			cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
			ln := r.listen(cfg)
			line := ""
			for !strings.Contains(line, "trying again") {
				line = <-logged
			}
			if !strings.Contains(line, c.hint) {
				t.Errorf("no hint in the log: %s", line)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			err := ln.Wait(ctx)
			var no *remote.NoRelayError
			if !errors.As(err, &no) || !c.is(err) || !errors.Is(err, context.Canceled) {
				t.Fatalf("Wait: %v", err)
			}
			if hints := strings.Join(no.Hints(), "\n"); !strings.Contains(hints, c.hint) {
				t.Errorf("hints %q", hints)
			}
			if strings.Contains(err.Error(), "context") || !strings.Contains(err.Error(), "no session") || !strings.Contains(err.Error(), no.Relay) {
				t.Errorf("Wait: %v", err)
			}
		})
	}
}

// tlsServer does handshakes, and nothing more.
func tlsServer(t *testing.T, config *tls.Config) (addr string) {
	return answers(t, func(c net.Conn) { tls.Server(c, config).Handshake() })
}

// lines takes what is logged, line by line.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}

// The relays that a name climbs to are tried in turn.
func TestClimbsToTheRelay(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.Domain = "deep.xyz.relay.test" // xyz.relay.test is not in the certificate
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(ln.URL(), "https://deep.xyz.relay.test") {
		t.Error(ln.URL())
	}
}

// Who denies a name is who is named in the log, not who was tried before.
func TestDeniedByWhom(t *testing.T) {
	r := newRelay(t)
	r.set(nil, func(string, string) error { return &framing.Denial{Code: framing.DeniedTaken, Text: "no"} })
	cfg := r.config()
	cfg.Domain = "deep.xyz.relay.test"
	logged := make(lines, 16)
	cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
	ended(t, r.listen(cfg))
	for line := range logged {
		if strings.Contains(line, "level=ERROR") {
			if !strings.Contains(line, " relay=relay.test ") {
				t.Error(line)
			}
			return
		}
	}
}

// When all links are lost at once the log has one warning, and one line when
// the name answers again. The second link comes after the first.
func TestOutageInTheLog(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.Links = 2
	logged := make(lines, 100)
	cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
	ln := r.listen(cfg)
	for !strings.Contains(<-logged, `"another link is up"`) {
	}
	for _, l := range []*relayLink{r.next(), r.next()} {
		l.conn.(*net.TCPConn).SetLinger(0)
		l.conn.Close()
	}
	r.next()
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	r.next()
	end(ln)
	close(logged)
	var warnings, back int
	for line := range logged {
		if strings.Contains(line, "level=WARN") {
			t.Log(line)
			warnings++
		}
		if strings.Contains(line, `"session is up"`) && strings.Contains(line, " after=") {
			back++
		}
	}
	if warnings != 1 || back != 1 {
		t.Errorf("%d warnings and %d times back", warnings, back)
	}
}

// A denial that may pass is logged with what to do.
func TestPassingDenialHasAHint(t *testing.T) {
	for code, want := range map[framing.DenialCode]*hint.Advice{framing.DeniedLimit: hint.NoMoreNames, framing.DeniedUnavailable: hint.RelayUndecided} {
		r := newRelay(t)
		r.set(nil, func(string, string) error { return &framing.Denial{Code: code, Text: "later"} })
		cfg := r.config()
		logged := make(lines, 16)
		cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
		ln := r.listen(cfg)
		for line := range logged {
			if !strings.Contains(line, "no session with the relay") {
				continue
			}
			if !strings.Contains(line, strings.Join(want.Do, "; ")) {
				t.Errorf("code %d: %s", code, line)
			}
			break
		}
		end(ln)
	}
}
