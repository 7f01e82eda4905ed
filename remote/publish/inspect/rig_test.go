package inspect

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	shop = "shop.relay.test"
	// patience bounds a wait in a test that fails.
	patience = time.Minute
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func soaking() bool { return os.Getenv("KEYSTAY_SOAK") != "" }

// A rig is an inspector before a service, and its page.
type rig struct {
	t       testing.TB
	in      *Inspector
	handler http.Handler // what visitors' requests go to
	page    *Server
}

// newRig inspects what a handler answers.
func newRig(t testing.TB, h http.HandlerFunc) *rig {
	t.Helper()
	r := &rig{t: t, in: new(Inspector)}
	r.handler = r.in.Wrap(shop, h)
	t.Cleanup(r.in.Add(shop, r.handler))
	r.page = newServer(r.in)
	t.Cleanup(r.in.Close)
	return r
}

// visit sends a visitor's request.
func (r *rig) visit(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		req.Body = http.NoBody
	}
	req.Host = shop
	for n := 0; n < len(header); n += 2 {
		req.Header.Add(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

// ask asks the page for something, below its token.
func (r *rig) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequest(method, "/"+r.page.token+path, strings.NewReader(body))
	req.Host = "127.0.0.1:4040"
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	r.page.ServeHTTP(w, req)
	return w
}

// get returns what the page answers with 200.
func (r *rig) get(path string, header ...string) string {
	r.t.Helper()
	w := r.ask("GET", path, "", header...)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// newest is the newest exchange with what is known of it.
func (r *rig) newest() row {
	r.t.Helper()
	all, _ := r.in.all()
	if len(all) == 0 {
		r.t.Fatal("nothing is kept")
	}
	return row{all[0], all[0].look()}
}

// replayed repeats a request by the API, waits for its end, and returns it.
func (r *rig) replayed(path, body string) (row, *httptest.ResponseRecorder) {
	r.t.Helper()
	w := r.ask("POST", path, body, "Content-Type", "application/json")
	var a struct{ ID uint64 }
	if w.Code != http.StatusAccepted || json.Unmarshal(w.Body.Bytes(), &a) != nil {
		return row{}, w
	}
	e := r.in.find(a.ID)
	if e == nil {
		r.t.Fatal("the replay is not kept")
	}
	r.await("the end of the replay", func() bool { return e.look().ended })
	return row{e, e.look()}, w
}

// await waits until something is so, of which the inspector tells.
func (r *rig) await(what string, is func() bool) {
	r.t.Helper()
	news, stop := r.in.watch()
	defer stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !is() {
		select {
		case <-news:
		case <-late.C:
			r.t.Fatalf("%s does not come", what)
		}
	}
}

// echo answers with what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	_, _ = io.Copy(w, r.Body)
}
