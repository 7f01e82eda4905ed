package e2e

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"keystay/e2e/internal/browser"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/remote/publish"
	"keystay/remote/publish/gate"
)

//go:embed gate_page.html
var gatePage string

// gateSteps is how many steps the page has.
const gateSteps = 10

// A step is what the page says of one.
type gateStep struct{ Name, Wrong string }

// gateService is what is behind the gate, and the page that tries to get there.
func gateService(link string, reports chan<- []gateStep) http.Handler {
	reported := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		text, _ := json.Marshal(link)
		io.WriteString(w, strings.Replace(gatePage, "const frame", "const LINK = "+string(text)+";\nconst frame", 1))
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var steps []gateStep
		json.NewDecoder(r.Body).Decode(&steps)
		reports <- steps
		close(reported)
	})
	mux.HandleFunc("GET /hold", func(_ http.ResponseWriter, r *http.Request) { // the load event waits for it
		select {
		case <-reported:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/private/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "hello, cookies: %s", r.Header.Get("Cookie"))
	})
	mux.HandleFunc("/private/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/private/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	})
	return mux
}

// People sign in with a password or a link, use pages with fetch, events and
// WebSockets, and sign out: in both browsers.
func TestGateInBrowsers(t *testing.T) {
	t.Parallel()
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			b, err := browser.Find(kind)
			if err != nil {
				if os.Getenv("KEYSTAY_SKIP_BROWSERS") != "" {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			signInWith(t, b, string(kind))
		})
	}
}

func signInWith(t *testing.T, b browser.Browser, kind string) {
	const name = "xyz.relay.test"
	store, err := gate.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	users, err := gate.ParsePasswords([]byte("ada:$2a$10$yEaF3A3UFYVdrkryu01TsOHac7/FGRqymxPKK8lOec5EH9RqeNyKO\n")) // wind
	if err != nil {
		t.Fatal(err)
	}
	g, err := gate.New(gate.Config{Name: name, Store: store, Rules: []gate.Rule{{Paths: []string{"/private"}, Passwords: users, Links: true}}})
	if err != nil {
		t.Fatal(err)
	}
	link, err := store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(time.Hour), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan []gateStep, 1)
	local, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &http.Server{Handler: gateService(link+"?to="+url.QueryEscape("/private/hello"), reports), ReadHeaderTimeout: world.Patience}
	go service.Serve(local)
	t.Cleanup(func() { service.Close() })

	ca := testca.New(t)
	port := servePublic(t, name, ca, publish.SiteConfig{
		Gate: g.Wrap,
		Routes: []publish.Route{{Path: "/", Target: &publish.Target{
			URL: &url.URL{Scheme: "http", Host: local.Addr().String()}, Network: "tcp", Addresses: []string{local.Addr().String()},
		}}},
	})
	b.CA, b.Hosts = ca.PEM(), []string{name}
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		dir = t.TempDir()
	}
	for _, wrong := range browseGate(t.Context(), b, "https://"+name+":"+port+"/", filepath.Join(dir, "gate-"+kind+".png"), reports) {
		t.Error(wrong)
	}
}

// browseGate opens the page in a browser, and returns what went wrong.
func browseGate(ctx context.Context, b browser.Browser, page, picture string, reports <-chan []gateStep) (wrong []error) {
	ctx, cancel := context.WithTimeout(ctx, browser.DefaultTimeout)
	defer cancel()
	if err := b.Screenshot(ctx, page, picture); err != nil {
		wrong = append(wrong, err)
	}
	select {
	case steps := <-reports:
		for _, s := range steps {
			if s.Wrong != "" {
				wrong = append(wrong, fmt.Errorf("%s: %s", s.Name, s.Wrong))
			}
		}
		if len(steps) != gateSteps {
			wrong = append(wrong, fmt.Errorf("%d steps, not %d", len(steps), gateSteps))
		}
	default:
		wrong = append(wrong, errors.New("the page has not reported"))
	}
	return wrong
}

// signInCommand is the command
//
//	signin chromium|firefox FILE
//
// It serves at $SITE a page that signs in at the gate in front of /private, with the
// user ada and the password wind, uses what is there, signs out, and opens the one-time
// link in the file; and it opens the page at $URL in the browser.
func signInCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signin chromium|firefox FILE")
	}
	b, err := browser.Find(browser.Kind(args[0]))
	ts.Check(err)
	w := settingOf(ts)
	b.CA, b.Hosts = w.ca.IssuerPEM(), []string{storied}
	reports := make(chan []gateStep, 1)
	ln, err := net.Listen("tcp", w.site.addr)
	ts.Check(err)
	srv := &http.Server{Handler: gateService(strings.TrimSpace(ts.ReadFile(args[1])), reports), ReadHeaderTimeout: world.Patience}
	go srv.Serve(ln)
	defer srv.Close()
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		dir = ts.MkAbs(".")
	}
	for _, wrong := range browseGate(context.Background(), b, ts.Getenv("URL")+"/", filepath.Join(dir, "signin-"+args[0]+".png"), reports) {
		ts.Check(wrong)
	}
}

// servePublic serves a site as a remote does, on a port of loopback.
func servePublic(t *testing.T, name string, ca *testca.CA, c publish.SiteConfig) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tlsListener := tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{ca.Issue(name)}, NextProtos: []string{"h2", "http/1.1"}})
	srv := publish.NewSite(name, c).Server()
	go srv.Serve(publish.Visitors(tlsListener))
	t.Cleanup(func() { srv.Close() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return port
}
