package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
	"keystay/relay"
)

func TestPort80RedirectsAndAnswersTheCA(t *testing.T) {
	r := newRig(t, func(s *relay.Server) {
		s.PublicPort = 8443
		s.Challenge = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "own ", r.URL.Path) })
	})
	get, addr := r.plain()
	d := r.device(newIdentity(t), "a.relay.test")
	for _, c := range []struct {
		host, path, location string
		status               int
	}{
		{"a.relay.test", "/x?y=z", "https://a.relay.test:8443/x?y=z", 308},
		{"A.relay.test.:80", "/", "https://a.relay.test:8443/", 308},
		{zone, "/", "https://relay.test:8443/", 308},
		{"a.relay.test", "//example.com/", "https://a.relay.test:8443//example.com/", 308},
		{"unknown.relay.test", "/", "", 404},
		{"unknown.relay.test", "/.well-known/acme-challenge/x", "", 404},
		{"192.0.2.1", "/", "", 404},
		{"example.com", "/", "", 404},
		{zone, "/.well-known/acme-challenge/x", "", 200},
	} {
		resp, body := get(c.host, c.path)
		if resp.StatusCode != c.status || resp.Header.Get("Location") != c.location {
			t.Errorf("%s%s: %s to %q", c.host, c.path, resp.Status, resp.Header.Get("Location"))
		}
		if c.status == 200 && body != "own /.well-known/acme-challenge/x" {
			t.Errorf("own challenge: %q", body)
		}
	}
	// A request line that a URL's parser takes for something else must not
	// choose where the browser goes.
	for _, line := range []string{"OPTIONS * HTTP/1.1", "GET http:.example.com HTTP/1.1", "GET http:@example.com/ HTTP/1.1"} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "%s\r\nHost: a.relay.test\r\nConnection: close\r\n\r\n", line)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if to := resp.Header.Get("Location"); to != "" && !strings.HasPrefix(to, "https://a.relay.test:8443/") {
			t.Errorf("%s: sent to %s", line, to)
		}
		resp.Body.Close()
		c.Close()
	}

	// The CA's question goes to the device, and its answer back.
	go func() {
		s, err := d.Accept()
		if err != nil {
			return
		}
		if h := s.Header(); h.Kind != framing.KindHTTP01 || h.Name != "a.relay.test" {
			t.Errorf("header %+v", h)
		}
		req, err := http.ReadRequest(bufio.NewReader(s))
		if err != nil || req.Host != "a.relay.test" || req.URL.Path != "/.well-known/acme-challenge/token" {
			t.Errorf("request %+v, %v", req, err)
		}
		if len(req.Header) > 2 || req.Header.Get("Upgrade") != "" || req.Header.Get("Cookie") != "" {
			t.Errorf("more than the question: %v", req.Header)
		}
		io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nanswer")
		s.CloseWrite()
		io.Copy(io.Discard, s)
		s.Close()

		// A device cannot make a tunnel of it.
		if s, err = d.Accept(); err != nil {
			return
		}
		io.WriteString(s, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		io.Copy(io.Discard, s)
		s.Close()
	}()
	if resp, body := get("a.relay.test", "/.well-known/acme-challenge/token"); resp.StatusCode != 200 || body != "answer" {
		t.Errorf("challenge: %s %q", resp.Status, body)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.relay.test\r\nConnection: Upgrade\r\nUpgrade: x\r\nCookie: x\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 502 {
		t.Errorf("an upgrade on port 80: %v, %v", resp, err)
	}
	c.Close()
	d.Close()
	<-d.Done()
	r.waitForLog("remote disconnected")
	if resp, _ := get("a.relay.test", "/.well-known/acme-challenge/token"); resp.StatusCode != 502 {
		t.Errorf("challenge for a device that is away: %s", resp.Status)
	}
}

// A remote has challengeTimeout for an HTTP-01 request: also where it does not
// take the question, does not answer, or does not end its answer.
func TestChallengeThatIsNotAnsweredEndsInTime(t *testing.T) {
	for name, serve := range map[string]func(*framing.Stream){
		"takes nothing": func(s *framing.Stream) {},
		"says nothing":  func(s *framing.Stream) { go io.Copy(io.Discard, s) },
		"never ends": func(s *framing.Stream) {
			s.Read(make([]byte, 1<<10))
			io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\nabc")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := memRig(t, nil)
				d := r.device(newIdentity(t), "a.relay.test")
				http01 := memconn.Listen(nil)
				done := make(chan error, 1)
				go func() { done <- r.srv.ServeHTTP01(http01) }()
				go func() {
					s, err := d.Accept()
					if err == nil {
						serve(s)
					}
				}()
				c, err := http01.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				io.WriteString(c, "GET /.well-known/acme-challenge/"+strings.Repeat("x", 10_000)+" HTTP/1.1\r\nHost: a.relay.test\r\nUser-Agent: "+strings.Repeat("u", 4000)+"\r\nConnection: close\r\n\r\n")
				b, _ := io.ReadAll(c)
				if took := time.Since(start); took > relay.ChallengeTimeout+time.Second || took < time.Second {
					t.Errorf("%.60q after %v", b, took)
				}
				if name != "never ends" && !strings.Contains(string(b), "502") {
					t.Errorf("got %.60q", b)
				}
				c.Close()
				r.close()
				<-done
			})
		})
	}
}
