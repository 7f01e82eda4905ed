package remote_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/internal/keyname"
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

// When all links are lost at once the log has one warning, and one line when
// the name answers again. The second link comes after the first.
func TestOutageInTheLog(t *testing.T) {
	atOnce := false
	for range 10 {
		t.Run("", func(t *testing.T) { atOnce = outageInTheLog(t) })
		if atOnce {
			return
		}
	}
	t.Error("each time the log has a link that is lost alone")
}

// outageInTheLog reports false where a busy machine let the device dial again before it lost
// the other link: then it was right to say that this one serves.
func outageInTheLog(t *testing.T) (atOnce bool) {
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
	var all []string
	var warnings, back int
	for line := range logged {
		all = append(all, line)
		if strings.Contains(line, "level=WARN") {
			warnings++
		}
		if strings.Contains(line, `"session is up"`) && strings.Contains(line, " after=") {
			back++
		}
	}
	if strings.Contains(strings.Join(all, ""), "another one serves") {
		return false
	}
	if warnings != 1 || back != 1 {
		t.Errorf("%d warnings and %d times back:\n%s", warnings, back, strings.Join(all, ""))
	}
	return true
}
