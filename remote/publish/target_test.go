package publish_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// publishHandler is serveTarget for a service made of a handler.
func publishHandler(t *testing.T, h http.HandlerFunc) *published {
	t.Helper()
	return serveTarget(t, handlerTarget(t, h))
}

// handlerTarget is a Target with a handler behind it.
func handlerTarget(t *testing.T, h http.HandlerFunc) *publish.Target {
	t.Helper()
	local := httptest.NewServer(h)
	t.Cleanup(local.Close)
	return tcpTarget("http", local.Listener.Addr())
}

func tcpTarget(scheme string, addr net.Addr) *publish.Target {
	return &publish.Target{URL: &url.URL{Scheme: scheme, Host: addr.String()}, Network: "tcp", Addresses: []string{addr.String()}}
}

// client speaks HTTP/1.1 or HTTP/2 as a visitor.
func (p *published) client(h2 bool) *http.Client {
	protos := []string{"http/1.1"}
	tr := &http.Transport{ForceAttemptHTTP2: h2, DisableCompression: true, MaxResponseHeaderBytes: 1 << 20}
	if h2 {
		protos = []string{"h2"}
	}
	tr.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
		return p.dial(func(c net.Conn) net.Conn { return c }, protos...)
	}
	p.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// both runs a test over HTTP/1.1 and HTTP/2.
func both(t *testing.T, f func(t *testing.T, h2 bool)) {
	for name, h2 := range map[string]bool{"http1": false, "http2": true} {
		t.Run(name, func(t *testing.T) { f(t, h2) })
	}
}

func body(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The local service learns who the visitor is from headers that the visitor
// cannot forge, and else gets the request as it is.
func TestServiceLearnsTheVisitorFromUnforgeableHeaders(t *testing.T) {
	got := make(chan *http.Request, 1)
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.Header().Set("Location", "/somewhere")
		w.WriteHeader(302)
	})
	both(t, func(t *testing.T, h2 bool) {
		req, _ := http.NewRequest("PATCH", "https://"+domain+"/a%2Fb/../c?q=%zz;x", strings.NewReader("body"))
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Anything", "Forwarded", "X-Real-IP"} {
			req.Header.Add(name, "forged")
			req.Header.Add(name, "forged again")
		}
		req.Header.Set("Cookie", "a=b; c=d")
		req.Header.Set("Accept-Encoding", "br")
		resp, err := p.client(h2).Do(req)
		body(t, resp, err)
		if resp.StatusCode != 302 || resp.Header.Get("Location") != "/somewhere" {
			t.Errorf("%s to %s", resp.Status, resp.Header.Get("Location"))
		}
		r := <-got
		for name, want := range map[string]string{
			"X-Forwarded-For":      "8.8.4.4",
			"X-Forwarded-Host":     domain,
			"X-Forwarded-Proto":    "https",
			"X-Forwarded-Port":     "",
			"X-Forwarded-Anything": "",
			"X-Real-Ip":            "",
			"Forwarded":            `for=8.8.4.4;host="` + domain + `";proto=https`,
			"Cookie":               "a=b; c=d",
			"Accept-Encoding":      "br",
		} {
			if got := strings.Join(r.Header.Values(name), ", "); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if r.Method != "PATCH" || r.RequestURI != "/a%2Fb/../c?q=%zz;x" || r.Host != domain {
			t.Errorf("%s %s for %s", r.Method, r.RequestURI, r.Host)
		}
	})
}

func TestForeignHostGets421(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "served") })
	both(t, func(t *testing.T, h2 bool) {
		for host, want := range map[string]int{
			domain: 200, "XYZ.relay.test": 200, domain + ":8443": 200, domain + ".": 200,
			"abc.relay.test": 421, zone: 421, "localhost": 421, "127.0.0.1": 421, "x" + domain: 421,
		} {
			req, _ := http.NewRequest("GET", "https://"+domain, nil)
			req.Host = host
			resp, err := p.client(h2).Do(req)
			if text := body(t, resp, err); resp.StatusCode != want || (want == 200) != (text == "served") {
				t.Errorf("host %s: %s %q", host, resp.Status, text)
			}
		}
	})
}

// A service that is down is told as such, and not where it is.
func TestServiceThatIsDownIsToldAndNotWhere(t *testing.T) {
	p := serveTarget(t, tcpTarget("http", testnet.Reserve(t)))
	both(t, func(t *testing.T, h2 bool) {
		resp, err := p.client(h2).Get("https://" + domain)
		text := body(t, resp, err)
		if resp.StatusCode != 502 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") ||
			!strings.Contains(text, "does not answer") || strings.Contains(text, "127.0.0.1") {
			t.Errorf("%s %q", resp.Status, text)
		}
	})
}

// Each piece of an answer reaches the visitor before the next is sent, be it of
// an event stream or a file.
func TestAnswersAreNotBuffered(t *testing.T) {
	next := make(chan struct{})
	service := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/file":
			w.Header().Set("Content-Length", fmt.Sprint(5*len("data: 0\n\n")))
		}
		if r.URL.Path != "/file" {
			w.(http.Flusher).Flush() // the head alone
			<-next
		}
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	secure := httptest.NewUnstartedServer(service)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	target := tcpTarget("https", secure.Listener.Addr())
	target.Insecure = true
	for name, p := range map[string]*published{"http": publishHandler(t, service), "https with HTTP/2": serveTarget(t, target)} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, h2 bool) {
				for _, path := range []string{"/events", "/file", "/pieces"} {
					resp, err := p.client(h2).Get("https://" + domain + path)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					if path != "/file" {
						next <- struct{}{}
					}
					for i := range 5 {
						b := make([]byte, len("data: 0\n\n"))
						if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != fmt.Sprintf("data: %d\n\n", i) {
							t.Fatalf("piece %d of %s: %q, %v", i, path, b, err)
						}
						next <- struct{}{}
					}
					if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != io.EOF {
						t.Errorf("at the end of %s: %v", path, err)
					}
				}
			})
		})
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", r.Trailer.Get("X-Up"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})
	both(t, func(t *testing.T, h2 bool) {
		req, _ := http.NewRequest("POST", "https://"+domain, struct{ io.Reader }{strings.NewReader("body")})
		req.Trailer = http.Header{"X-Up": {"from the visitor"}}
		resp, err := p.client(h2).Do(req)
		if text := body(t, resp, err); text != "body" || resp.Trailer.Get("X-Sum") != "from the visitor" || resp.Trailer.Get("X-Late") != "unannounced" {
			t.Errorf("%q with trailers %v", text, resp.Trailer)
		}
	})
}

// A visitor that asks whether to send its body hears what the service says.
func TestExpectContinueIsAnsweredByTheService(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		io.Copy(w, r.Body)
	})
	for path, want := range map[string]string{"/yes": "HTTP/1.1 100 Continue", "/no": "HTTP/1.1 413 Request Entity Too Large"} {
		v := p.visitor("http/1.1")
		fmt.Fprintf(v, "POST %s HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", path, domain)
		br := bufio.NewReader(v)
		line, err := br.ReadString('\n')
		if strings.TrimSpace(line) != want || err != nil {
			t.Errorf("%s: %q, %v", path, line, err)
			continue
		}
		if path == "/no" {
			continue
		}
		br.ReadString('\n')
		io.WriteString(v, "body")
		resp, err := http.ReadResponse(br, nil)
		if text := body(t, resp, err); text != "body" {
			t.Errorf("%s: %q", path, text)
		}
	}
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		var b bytes.Buffer
		io.Copy(io.MultiWriter(h, &b), r.Body)
		w.Header().Set("X-Sum", fmt.Sprintf("%x", h.Sum(nil)))
		w.Write(b.Bytes())
	})
	data := make([]byte, 2<<20)
	rand.Read(data)
	both(t, func(t *testing.T, h2 bool) {
		resp, err := p.client(h2).Post("https://"+domain, "", bytes.NewReader(data))
		if text := body(t, resp, err); text != string(data) || resp.Header.Get("X-Sum") != fmt.Sprintf("%x", sha256.Sum256(data)) {
			t.Errorf("%d bytes came back", len(text))
		}
	})
}

// A service may answer before it has got the whole body, and read on or not.
func TestEarlyAnswerIsPassedOn(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		fmt.Fprint(w, "too large")
	})
	both(t, func(t *testing.T, h2 bool) {
		for range 2 {
			resp, err := p.client(h2).Post("https://"+domain, "", bytes.NewReader(make([]byte, 5<<20)))
			if text := body(t, resp, err); resp.StatusCode != 413 || text != "too large" {
				t.Errorf("%s %q", resp.Status, text)
			}
		}
	})
}

// A service may begin its answer before it reads the body: each gets all of the
// other's bytes.
func TestAnswerWhileBodyIsRead(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, h2 bool) {
		for _, size := range []int{5, 100_000, 1 << 20} {
			pr, pw := io.Pipe()
			data := strings.Repeat("x", size)
			req, _ := http.NewRequest("POST", "https://"+domain, pr)
			if size > 5 {
				req.ContentLength = int64(size)
			}
			begun := make(chan struct{})
			go func() {
				io.WriteString(pw, data[:1])
				<-begun
				io.WriteString(pw, data[1:])
				pw.Close()
			}()
			resp, err := p.client(h2).Do(req)
			close(begun)
			if text := body(t, resp, err); text != data {
				t.Errorf("%d of %d bytes came back", len(text), size)
			}
		}
	})
}

// After a switch of protocols bytes go both ways, and each side ends by itself.
func TestUpgradedBytesGoBothWays(t *testing.T) {
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" || r.Header.Get("Connection") != "Upgrade" {
			t.Errorf("headers %v", r.Header)
		}
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nwelcome;")
		b := make([]byte, 5)
		io.ReadFull(rw, b)
		c.Write(b)
		io.WriteString(c, ";bye")
	})
	v := p.visitor("http/1.1")
	fmt.Fprintf(v, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", domain)
	br := bufio.NewReader(v)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	b := make([]byte, len("welcome;"))
	if _, err := io.ReadFull(br, b); string(b) != "welcome;" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	io.WriteString(v, "hello")
	if b, err := io.ReadAll(br); string(b) != "hello;bye" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
}

// A rawService answers every connection with what it is told.
func rawService(t *testing.T, serve func(*net.TCPConn)) net.Addr {
	t.Helper()
	return testnet.Serve(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			serve(c.(*net.TCPConn))
		}
	})
}

// Targets behind a unix socket and behind TLS, and several addresses.
func TestKindsOfTargets(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "served over ", r.Proto) })
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	unix := &http.Server{Handler: answer}
	go unix.Serve(ln)
	defer unix.Close()
	secure := httptest.NewUnstartedServer(answer)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	plain := httptest.NewServer(answer)
	defer plain.Close()

	insecure := tcpTarget("https", secure.Listener.Addr())
	insecure.Insecure = true
	second := tcpTarget("http", plain.Listener.Addr())
	second.Addresses = append([]string{"127.0.0.1:1"}, second.Addresses...)
	none := tcpTarget("http", plain.Listener.Addr())
	none.Addresses = nil
	for name, c := range map[string]struct {
		target *publish.Target
		want   string
	}{
		"unix":           {&publish.Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "unix", Addresses: []string{socket}}, "served over HTTP/1.1"},
		"https":          {tcpTarget("https", secure.Listener.Addr()), "502 Bad Gateway"}, // a certificate that nobody knows
		"https+insecure": {insecure, "served over HTTP/2.0"},
		"second address": {second, "served over HTTP/1.1"},
		"no address":     {none, "502 Bad Gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := serveTarget(t, c.target).client(false).Get("https://" + domain)
			if text := body(t, resp, err); !strings.HasPrefix(text, c.want) {
				t.Errorf("%s %q", resp.Status, text)
			}
		})
	}
}
