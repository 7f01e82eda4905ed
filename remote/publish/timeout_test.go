package publish_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// A service that is late gets its request ended, and is not asked again. The visitor
// gets 504.
func TestLateAnswerIs504(t *testing.T) {
	asked, ended := make(chan string, 10), make(chan struct{}, 10)
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			return
		}
		asked <- r.Method
		<-r.Context().Done()
		ended <- struct{}{}
	}
	for kind, target := range map[string]*publish.Target{
		"http":  handlerTarget(t, h),
		"https": insecureTarget(tlsService(t, testca.New(t), h, nil, "localhost")),
	} {
		var log bytes.Buffer
		target.Logger = slog.New(slog.NewTextHandler(&log, nil))
		p, _ := serveSite(t, publish.Route{Path: "/", Target: target, AnswerTimeout: time.Second})
		both(t, func(t *testing.T, h2 bool) {
			client := p.client(h2)
			get(t, client) // so that the next takes a connection that was used
			resp, err := client.Get("https://" + domain + "/late")
			body(t, resp, err)
			if resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("Retry-After") != "10" {
				t.Errorf("%s: %s %v", kind, resp.Status, resp.Header)
			}
			<-ended
		})
		p.srv.Close()
		if len(asked) != 2 || !strings.Contains(log.String(), `err="its answer has not begun after 1s"`) {
			t.Errorf("%s: asked %d times for two visitors; the log:\n%s", kind, len(asked), &log)
		}
		for range len(asked) {
			<-asked
		}
	}
}

// A service that does not end its TLS handshake in time is not reached.
func TestConnectTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(testnet.Accept(ln, func(c net.Conn) {
		for b := make([]byte, 1000); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}))
	var log bytes.Buffer
	target := insecureTarget(ln.Addr())
	target.Logger = slog.New(slog.NewTextHandler(&log, nil))
	p, _ := serveSite(t, publish.Route{Path: "/", Target: target, ConnectTimeout: time.Second})
	resp, _ := get(t, p.client(true))
	p.srv.Close()
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(log.String(), "TLS handshake: not done after 1s") {
		t.Errorf("%s; the log:\n%s", resp.Status, &log)
	}
}
