package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// What was sent is what is kept: heads, bodies, trailers, sizes and the state.
func TestExchangesAreKeptAsTheyWere(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if _, err := io.Copy(io.Discard, q.Body); err != nil {
			t.Error(err)
		}
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Answer", "yes")
		w.Header()["Content-Type"] = nil
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and ", "stout")
		w.Header().Set("X-Sum", "15")
		w.Header().Set(http.TrailerPrefix+"X-Late", "1")
	})
	w := r.visit("PUT", "/pot?a=b", "water", "X-Ask", "one", "X-Ask", "two")
	if w.Body.String() != "short and stout" || w.Code != http.StatusTeapot {
		t.Fatal("the answer has changed:", w.Code, w.Body)
	}
	x := r.newest()
	if x.id != 1 || x.method != "PUT" || x.target != "/pot?a=b" || x.host != shop || x.name != shop || x.visitor != "192.0.2.1:1234" {
		t.Errorf("%+v", x.exchange)
	}
	if string(x.request.body) != "water" || x.request.size != 5 || len(x.request.header["X-Ask"]) != 2 || x.request.cut() {
		t.Errorf("request: %+v", x.request)
	}
	if string(x.answer.body) != "short and stout" || x.answer.size != 15 || x.status != http.StatusTeapot || x.answer.header.Get("X-Answer") != "yes" {
		t.Errorf("answer: %+v", x.answer)
	}
	if x.answer.trailer.Get("X-Sum") != "15" || x.answer.trailer.Get("X-Late") != "1" || len(x.answer.trailer) != 2 {
		t.Errorf("trailers: %v", x.answer.trailer)
	}
	if _, there := x.answer.header["Content-Type"]; there || !x.ended || x.broken || x.took < x.first {
		t.Errorf("%+v", x.content)
	}
}

// An answer that breaks off goes on breaking off, and is kept as that.
func TestBrokenAnswersAreKeptAsBroken(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half of")
		panic(http.ErrAbortHandler)
	})
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Error(v)
			}
		}()
		r.visit("GET", "/", "")
	}()
	if x := r.newest(); !x.broken || !x.ended || string(x.answer.body) != "half of" || x.state() != "broken" {
		t.Errorf("%+v", x.content)
	}
}

// A request is on the page while it runs, and its body grows there.
func TestRequestsUnderWayAreShown(t *testing.T) {
	begun, go2, done := make(chan bool), make(chan bool), make(chan bool)
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "first")
		close(begun)
		<-go2
		fmt.Fprint(w, " second")
	})
	go func() { defer close(done); r.visit("GET", "/slow", "") }()
	<-begun
	if x := r.newest(); x.ended || x.status != 200 || string(x.answer.body) != "first" || x.state() != "running" {
		t.Errorf("%+v", x.content)
	}
	if page := r.get("/x/1"); !strings.Contains(page, `data-state="running"`) {
		t.Error(page)
	}
	close(go2)
	<-done
	if x := r.newest(); !x.ended || string(x.answer.body) != "first second" {
		t.Errorf("%+v", x.content)
	}
}

// A body is kept up to its limit, and passes whole; the size is that of all of it.
func TestLongBodiesPassWholeAndAreKeptInPart(t *testing.T) {
	r := newRig(t, echo)
	body := strings.Repeat("0123456789abcdef", maxBody/8) // twice the limit
	if w := r.visit("POST", "/", body); w.Body.String() != body {
		t.Fatal("the answer has changed")
	}
	x := r.newest()
	for _, m := range []*message{&x.request, &x.answer} {
		if string(m.body) != body[:maxBody] || m.size != int64(len(body)) || !m.cut() {
			t.Errorf("%d of %d are kept", len(m.body), m.size)
		}
	}
	if page := r.get("/x/1"); !strings.Contains(page, "only the first 256 KiB of 512 KiB are kept") {
		t.Error("the page does not say so")
	}
}

// What is kept stays within the budget, however many requests there are, of any size:
// the oldest go first, and the memory of the process stays flat.
func TestMemoryStaysFlatOverManyRequests(t *testing.T) {
	r := newRig(t, echo)
	r.in.Memory = 512 << 10
	n := 1_500
	if soaking() {
		n = 1_000_000
	}
	random := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 100, 3000, 20_000, maxBody + 1}
	body := strings.Repeat("x", maxBody+1)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var early uint64
	for i := range n {
		size := sizes[random.IntN(4)]
		if i%50 == 0 {
			size = sizes[random.IntN(len(sizes))]
		}
		r.visit("POST", fmt.Sprint("/", i), body[:size], "X-Number", fmt.Sprint(i))
		if i%500 == 0 {
			r.within(r.in.Memory)
		}
		if i == n/4 {
			early = heap()
		}
	}
	r.within(r.in.Memory)
	if late := heap(); late > early+uint64(r.in.Memory) {
		t.Errorf("the heap has grown from %d to %d bytes", early, late)
	}
	all, let := r.in.all()
	if len(all) == 0 || all[0].target != fmt.Sprint("/", n-1) || let != uint64(n-len(all)) {
		t.Errorf("%d are kept, %d let go", len(all), let)
	}
	for i, e := range all {
		if e.id != uint64(n-i) {
			t.Fatalf("%d is not the oldest that went", e.id)
		}
	}
}

// within reports where more is kept than there is memory for, or counted wrongly.
func (r *rig) within(most int64) {
	r.t.Helper()
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	var sum int64
	for _, e := range r.in.kept {
		sum += e.cost
	}
	if r.in.used > most || r.in.used != sum {
		r.t.Fatalf("%d bytes are taken of %d, and %d are counted", r.in.used, most, sum)
	}
}

// A request that is let go of while it runs gives its memory back at once, and passes on.
func TestWhatIsLetGoOfWhileItRunsIsFreed(t *testing.T) {
	begun, go2, done := make(chan bool), make(chan bool), make(chan bool)
	r := newRig(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/slow" {
			return
		}
		fmt.Fprint(w, strings.Repeat("x", 10_000))
		close(begun)
		<-go2
		fmt.Fprint(w, "end")
	})
	var w *httptest.ResponseRecorder
	go func() { defer close(done); w = r.visit("GET", "/slow", "") }()
	<-begun
	e := r.newest().exchange
	r.in.clear()
	e.mu.Lock()
	if e.answer.body != nil || !e.empty {
		t.Error("its bytes are there still")
	}
	e.mu.Unlock()
	close(go2)
	<-done
	if w.Body.Len() != 10_003 {
		t.Error("the answer has changed:", w.Body.Len())
	}
	if all, _ := r.in.all(); len(all) != 0 || r.in.used != 0 {
		t.Errorf("%d are kept, of %d bytes", len(all), r.in.used)
	}
}

// Nothing of a visitor is kept while it is paused; a replay is.
func TestNothingIsKeptWhilePaused(t *testing.T) {
	r := newRig(t, echo)
	r.visit("GET", "/before", "")
	if w := r.ask("POST", "/pause", ""); w.Code != http.StatusSeeOther {
		t.Fatal(w.Code)
	}
	r.visit("GET", "/paused", "")
	if x := r.newest(); x.target != "/before" {
		t.Error(x.target)
	}
	if x, w := r.replayed("/api/exchanges/1/replay", ""); x.exchange == nil || x.replayOf != 1 {
		t.Error(w.Code, w.Body)
	}
	r.ask("POST", "/resume", "")
	r.visit("GET", "/after", "")
	if x := r.newest(); x.target != "/after" {
		t.Error(x.target)
	}
	r.ask("POST", "/clear", "")
	if all, _ := r.in.all(); len(all) != 0 || r.in.used != 0 {
		t.Errorf("%d are kept", len(all))
	}
}

// Visitors are served while pages are looked at, searched, compared and cleared.
func TestVisitorsAndViewersAtOnce(t *testing.T) {
	r := newRig(t, echo)
	r.in.Memory = 256 << 10
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 50 {
				body := strings.Repeat(fmt.Sprint(g), 1+i*100)
				if w := r.visit("POST", "/a", body, "Content-Type", "application/grpc"); w.Body.String() != body {
					t.Error("the answer has changed")
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 10 {
				for _, path := range []string{"/", "/?q=11", "/x/5", "/har", "/compare?a=3&b=4", "/api/exchanges", "/api/exchanges/7"} {
					if w := r.ask("GET", path, ""); w.Code != 200 && w.Code != 404 {
						t.Error(path, w.Code)
					}
				}
				r.ask("POST", "/clear", "")
			}
		})
	}
	wg.Wait()
	r.within(r.in.Memory)
}

// A browser that takes nothing holds up no visitor: news is never waited for.
func TestWhoeverDoesNotReadHoldsUpNobody(t *testing.T) {
	r := newRig(t, echo)
	_, stop := r.in.watch()
	defer stop()
	stuck := &stuckWriter{header: make(http.Header), at: make(chan bool, 1), free: make(chan bool)}
	done := make(chan bool)
	go func() {
		defer close(done)
		req := httptest.NewRequest("GET", "/"+r.page.token+"/", nil)
		req.Host = "localhost"
		r.page.ServeHTTP(stuck, req)
	}()
	<-stuck.at
	for range 200 {
		r.visit("POST", "/", "body")
	}
	if x := r.newest(); x.id != 200 {
		t.Error(x.id)
	}
	close(stuck.free)
	<-done
}

// A stuckWriter is a browser that takes nothing until it is free.
type stuckWriter struct {
	header   http.Header
	at, free chan bool
}

func (w *stuckWriter) Header() http.Header { return w.header }
func (w *stuckWriter) WriteHeader(int)     {}
func (w *stuckWriter) Write(p []byte) (int, error) {
	w.at <- true
	<-w.free
	return 0, errors.New("it has gone")
}

// A head with more than is kept is cut, and says so.
func TestLongHeadsAreCut(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 100 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("v", 2000))
		}
	})
	r.visit("GET", "/", "")
	if x := r.newest(); !x.answer.headCut || len(x.answer.header) > maxHead/2000 || len(x.answer.header) < maxHead/3000 {
		t.Error(len(x.answer.header), x.answer.headCut)
	}
	if !strings.Contains(r.get("/x/1"), "It had more lines than are kept.") {
		t.Error("the page does not say so")
	}
}

// BenchmarkInspected is one small request with nothing in between, and with a tap.
func BenchmarkInspected(b *testing.B) {
	answer := bytes.Repeat([]byte("a"), 1000)
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })
	for _, tapped := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "on"}[tapped], func(b *testing.B) {
			var served http.Handler = h
			if tapped {
				served = new(Inspector).Wrap(shop, h)
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("User-Agent", "bench")
			b.ReportAllocs()
			for b.Loop() {
				served.ServeHTTP(&nowhere{header: make(http.Header)}, req)
			}
		})
	}
}
