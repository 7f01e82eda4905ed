package browser_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"keystay/e2e/internal/browser"
)

// ask sends a request straight to the handler and returns its answer.
func ask(t *testing.T, site *browser.Site, method, path, body string) *http.Response {
	w := httptest.NewRecorder()
	site.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Result()
}

// visit asks for the page and returns the id of the run it starts.
func visit(t *testing.T, site *browser.Site) string {
	t.Helper()
	page, err := io.ReadAll(ask(t, site, "GET", "/", "").Body)
	if err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`const run = '(\w+)'`).FindSubmatch(page)
	if id == nil {
		t.Fatalf("no run in page: %.300s", page)
	}
	return string(id[1])
}

func wantStatus(t *testing.T, what string, response *http.Response, want int) {
	t.Helper()
	if response.StatusCode != want {
		t.Errorf("%s: status %d, want %d", what, response.StatusCode, want)
	}
}

func TestReportOncePerRun(t *testing.T) {
	var site browser.Site
	path := "/report?run=" + visit(t, &site)
	wantStatus(t, "report of 65 KiB", ask(t, &site, "POST", path, `{"protocol":"`+strings.Repeat("x", 65<<10)+`"}`), 400)
	wantStatus(t, "report", ask(t, &site, "POST", path, `{"protocol":"h2","checks":[{"name":"page","ok":true}]}`), 204)
	wantStatus(t, "second report", ask(t, &site, "POST", path, `{"protocol":"h3"}`), 204)
	if report := reported(t, &site); report.Protocol != "h2" || len(report.Checks) != 1 {
		t.Errorf("got %+v, want the first report", report)
	}
	select {
	case report := <-site.Reports():
		t.Errorf("got a second report %+v", report)
	default:
	}
}

func TestErrNamesTheCheckThatFailed(t *testing.T) {
	var report browser.Report
	for _, name := range browser.CheckNames() {
		if err := report.Err(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: error is %v", name, err)
		}
		report.Checks = append(report.Checks, browser.Check{Name: name, OK: true})
	}
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	report.Checks[1] = browser.Check{Name: "events", Detail: "held back"}
	if err := report.Err(); err == nil || !strings.Contains(err.Error(), "events: held back") {
		t.Errorf("error is %v, want one that quotes the detail", err)
	}
}

func TestUnknownRunGets404(t *testing.T) {
	var site browser.Site
	visit(t, &site)
	for _, test := range []string{"GET /events", "POST /seen", "GET /gate", "POST /report"} {
		method, path, _ := strings.Cut(test, " ")
		wantStatus(t, test, ask(t, &site, method, path+"?run=x", "{}"), 404)
	}
}

func TestRunAndRequestLimits(t *testing.T) {
	var site browser.Site
	for range 64 {
		visit(t, &site)
	}
	wantStatus(t, "page 65", ask(t, &site, "GET", "/", ""), 503)
	for range 1024 {
		ask(t, &site, "GET", "/nothing", "")
	}
	if n := len(site.Requests()); n != 1024 {
		t.Errorf("%d requests on record, want 1024", n)
	}
}

func TestRequestsKeepHeaders(t *testing.T) {
	var site browser.Site
	r := httptest.NewRequest("GET", "https://xyz.relay.test/hello?secret", nil)
	r.Header.Set("X-Forwarded-For", "192.0.2.7")
	site.ServeHTTP(httptest.NewRecorder(), r)
	got := site.Requests()[0]
	if got.Path != "/hello" || got.Host != host || got.Header.Get("X-Forwarded-For") != "192.0.2.7" {
		t.Errorf("got %+v", got)
	}
}

func TestUploadBeyondTheLimitGets413(t *testing.T) {
	server := httptest.NewServer(new(browser.Site))
	defer server.Close()
	for size, want := range map[int64]int{64 << 20: 200, 64<<20 + 1: 413} {
		response, err := server.Client().Post(server.URL+"/upload", "", io.LimitReader(zeros{}, size))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		wantStatus(t, fmt.Sprint(size, " bytes"), response, want)
	}
}

// zeros is an endless file of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestMessageBeyondTheLimitClosesTheEcho(t *testing.T) {
	server := httptest.NewServer(new(browser.Site))
	defer server.Close()
	for size, want := range map[int]websocket.StatusCode{256 << 10: -1, 256<<10 + 1: websocket.StatusMessageTooBig} {
		conn, _, err := websocket.Dial(t.Context(), server.URL+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		message := bytes.Repeat([]byte("k"), size)
		conn.Write(t.Context(), websocket.MessageBinary, message)
		_, got, err := conn.Read(t.Context())
		if code := websocket.CloseStatus(err); code != want || err == nil && !bytes.Equal(got, message) {
			t.Errorf("message of %d bytes: closed with %v, error %v, want %v", size, code, err, want)
		}
		conn.CloseNow()
	}
}

// Each event leaves only when the one before has been confirmed.
func TestEventsWaitForConfirmation(t *testing.T) {
	var site browser.Site
	server := httptest.NewServer(&site)
	defer server.Close()
	id := visit(t, &site)
	response, err := server.Client().Get(server.URL + "/events?run=" + id)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	stream := bufio.NewReader(response.Body)
	for n := 1; ; n++ {
		line, err := stream.ReadString('\n')
		if errors.Is(err, io.EOF) && n == 9 {
			return
		}
		if want := fmt.Sprintf("data: %d\n", n); err != nil || line != want {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
		stream.ReadString('\n')
		if stream.Buffered() > 0 {
			t.Fatalf("something came with event %d", n)
		}
		if n < 8 {
			wantStatus(t, "confirmation", ask(t, &site, "POST", fmt.Sprintf("/seen?run=%s&n=%d", id, n), ""), 204)
		}
	}
}

// The service gives up waiting for a page that has gone silent.
func TestWaitsAreBounded(t *testing.T) {
	for path, want := range map[string]struct {
		status int
		after  time.Duration
	}{
		"GET /events":   {200, 70 * time.Second},
		"POST /seen":    {409, 70 * time.Second},
		"GET /gate":     {200, 2 * time.Minute},
		"POST /seen?n=": {400, 0},
	} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var site browser.Site
				method, path, _ := strings.Cut(path, " ")
				path, query, bad := strings.Cut(path, "?")
				if !bad {
					query = "n=1"
				}
				path += "?" + query + "&run=" + visit(t, &site)
				start := time.Now()
				wantStatus(t, path, ask(t, &site, method, path, ""), want.status)
				if took := time.Since(start); took != want.after {
					t.Errorf("took %v, want %v", took, want.after)
				}
			})
		})
	}
}

func TestEchoIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		ln := &oneConn{conn: far, closed: make(chan struct{})}
		server := &http.Server{Handler: new(browser.Site)}
		served := make(chan error, 1)
		go func() { served <- server.Serve(ln) }()
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil }}
		start := time.Now()
		conn, _, err := websocket.Dial(t.Context(), "http://"+host+"/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = conn.Read(t.Context())
		if took := time.Since(start); err == nil || took != 70*time.Second {
			t.Errorf("idle WebSocket ended with %v after %v, want the end after 70 s", err, took)
		}
		conn.CloseNow()
		server.Close()
		<-served
	})
}

// oneConn is a listener with one connection to accept.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn := l.conn; conn != nil {
		l.conn = nil
		return conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }
