package publish_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"keystay/remote/publish"
)

// A headsVisitor makes requests over one HTTP/2 connection without waiting for
// their answers.
type headsVisitor struct{ *h2Visitor }

// send makes a request of about size bytes of head in stream.
func (v *headsVisitor) send(stream uint32, size int) {
	v.block.Reset()
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", domain}, {":path", "/"}} {
		v.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	for i := 0; i*(15<<10) < size; i++ {
		v.enc.WriteField(hpack.HeaderField{Name: fmt.Sprint("x-a", i), Value: strings.Repeat("a", min(15<<10, size-i*(15<<10))), Sensitive: true})
	}
	block := v.block.Bytes()
	const frame = 16 << 10
	v.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block[:min(frame, len(block))], EndHeaders: len(block) <= frame, EndStream: true})
	for block = block[min(frame, len(block)):]; len(block) > 0; block = block[min(frame, len(block)):] {
		v.fr.WriteContinuation(stream, len(block) <= frame, block[:min(frame, len(block))])
	}
}

// answers reads n answers and returns how many had each status.
func (v *headsVisitor) answers(n int) map[string]int {
	v.t.Helper()
	got := make(map[string]int)
	for n > 0 {
		f, err := v.fr.ReadFrame()
		if err != nil {
			v.t.Fatal(err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			status := h.PseudoValue("status")
			for _, f := range h.RegularFields() {
				if f.Name == "retry-after" {
					status += " with Retry-After"
				}
			}
			got[status]++
			n--
		}
	}
	return got
}

// heldTarget has a service that answers a request with a large head when release
// is called, and others at once.
func heldTarget(t *testing.T) (target *publish.Target, release func()) {
	held := make(chan struct{})
	target = handlerTarget(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-A0") != "" {
			<-held
		}
	})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	return target, release
}

// The large heads of one visitor's HTTP/2 connection are 1.75 MiB at most at once.
// Requests beyond get 503 with Retry-After, and those under way are answered.
// Small heads do not count, and when some have been answered, others pass again.
func TestLargeHeadsOfAVisitorAreBounded(t *testing.T) {
	target, release := heldTarget(t)
	p := serveTarget(t, target)
	const size = 60 << 10
	most := publish.HeadsVisit / (size + 1<<10)
	v := &headsVisitor{newH2Visitor(t, p)}
	for i := range publish.MaxVisitorStreams {
		v.send(uint32(1+2*i), size)
	}
	refused := v.answers(publish.MaxVisitorStreams - most)
	if refused["503 with Retry-After"] != publish.MaxVisitorStreams-most {
		t.Errorf("with %d KiB under way: %v, want 503 for %d", most*size>>10, refused, publish.MaxVisitorStreams-most)
	}
	for i := range 20 {
		v.send(uint32(1001+2*i), 0)
	}
	if got := v.answers(20); got["200"] != 20 {
		t.Errorf("small heads: %v, want 200 for all", got)
	}
	release()
	if got := v.answers(most); got["200"] != most {
		t.Errorf("those under way: %v, want 200 for %d", got, most)
	}
	v.send(2001, size)
	if got := v.answers(1); got["200"] != 1 {
		t.Errorf("a large head behind them: %v", got)
	}
	v.conn.Close()
	awaitUnused(t, target)
}

// Trailers over HTTP/2 are kept until the answer has ended, so a request that announces
// some counts for as much as they may take: a visitor's connection has few of these at
// once, and others that announce none pass.
func TestAnnouncedTrailersCountForMemory(t *testing.T) {
	target, release := heldTarget(t)
	p := serveTarget(t, target)
	v := &headsVisitor{newH2Visitor(t, p)}
	const asked, most = 20, publish.HeadsVisit / (publish.TrailerCost + 1<<10)
	for range asked {
		v.headers(":method: POST\n:scheme: https\n:authority: $H\n:path: /\nx-a0: held\ntrailer: a", true)
		v.stream += 2
	}
	if got := v.answers(asked - most); got["503 with Retry-After"] != asked-most {
		t.Errorf("%v, want 503 for %d", got, asked-most)
	}
	for deadline := time.Now().Add(patience); publish.RequestMemory(target).Used() < most*publish.TrailerCost; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d KiB are taken by %d requests with trailers", publish.RequestMemory(target).Used()>>10, most)
		}
	}
	v.send(v.stream, 0)
	if got := v.answers(1); got["200"] != 1 {
		t.Errorf("a request without trailers: %v", got)
	}
	release()
	if got := v.answers(most); got["200"] != most {
		t.Errorf("those under way: %v, want 200 for %d", got, most)
	}
	v.conn.Close()
	awaitUnused(t, target)
}

// Over HTTP/1.1 each chunked body may have trailers, announced or not, which are kept as long.
func TestChunkedBodiesCountForMemory(t *testing.T) {
	target, release := heldTarget(t)
	p := serveTarget(t, target)
	c := p.visitor("http/1.1")
	var trailers strings.Builder
	for i := 0; trailers.Len() < 3<<10; i++ {
		fmt.Fprintf(&trailers, "%x:\n", i)
	}
	io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nX-A0: held\nConnection: close\nTransfer-Encoding: chunked\n\n1\nx\n0\n"+trailers.String()+"\n"))
	for deadline := time.Now().Add(patience); publish.RequestMemory(target).Used() < publish.RequestCost+publish.ChunkedCost; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d KiB are taken by a request with trailers", publish.RequestMemory(target).Used()>>10)
		}
	}
	release()
	if all, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(all, []byte("HTTP/1.1 200 ")) {
		t.Errorf("%q, %v", all, err)
	}
	awaitUnused(t, target)
}

// A browser with cookies of 12 KB may ask for as much at once as any other.
func TestLongCookiesAreServed(t *testing.T) {
	target, release := heldTarget(t)
	v := &headsVisitor{newH2Visitor(t, serveTarget(t, target))}
	for i := range publish.MaxVisitorStreams {
		v.send(uint32(1+2*i), 12<<10)
	}
	v.send(uint32(1+2*publish.MaxVisitorStreams), 0) // one too many, so that it is refused when the others have come
	for {
		f, err := v.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := f.(*http2.RSTStreamFrame); ok && r.StreamID == uint32(1+2*publish.MaxVisitorStreams) {
			break
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			t.Fatalf("a request is answered before the service does: %s", h.PseudoValue("status"))
		}
	}
	release()
	if got := v.answers(publish.MaxVisitorStreams); got["200"] != publish.MaxVisitorStreams {
		t.Errorf("%v, want 200 for all", got)
	}
	v.conn.Close()
	awaitUnused(t, target)
}

// The heads of all visitors' requests have one budget, which is never exceeded.
// An honest visitor is served while greedy ones hold what they can get, and all
// is given back.
func TestHeadsOfAllVisitorsHaveOneBudget(t *testing.T) {
	target, release := heldTarget(t)
	target.Memory = 4 << 20
	p := serveTarget(t, target)
	var visitors []*headsVisitor
	const heads = 2 * publish.HeadsVisit / (61 << 10)
	for range 6 {
		v := &headsVisitor{newH2Visitor(t, p)}
		visitors = append(visitors, v)
		for i := range heads {
			v.send(uint32(1+2*i), 60<<10)
		}
		// One head is always within what a share may have.
		refused := v.answers(heads / 2)
		if refused["503 with Retry-After"] == 0 {
			t.Errorf("none of %d large heads gets 503: %v", heads, refused)
		}
		if resp := p.raw("GET / HTTP/1.1\nHost: " + domain + "\n\n"); resp.StatusCode != 200 {
			t.Errorf("an honest visitor meanwhile: %s", resp.Status)
		}
	}
	if peak := publish.RequestMemory(target).Peak(); peak > target.Memory || peak < target.Memory/2 {
		t.Errorf("%d bytes were taken at most, of %d", peak, target.Memory)
	}
	release()
	for _, v := range visitors {
		v.conn.Close()
	}
	awaitUnused(t, target)
}

// A request counts for what it takes beside its head, too: however small the heads
// are, greedy visitors have so many requests under way and no more, and an honest
// one is served.
func TestRequestsOfAllVisitorsHaveOneBudget(t *testing.T) {
	target, release := heldTarget(t)
	target.Memory = 8 << 20
	p := serveTarget(t, target)
	var visitors []*headsVisitor
	for i := range 6 {
		v := &headsVisitor{newH2Visitor(t, p)}
		visitors = append(visitors, v)
		for i := range publish.MaxVisitorStreams {
			v.send(uint32(1+2*i), 1)
		}
		if i > 1 { // the first ones have what there is
			if refused := v.answers(publish.MaxVisitorStreams - 60); refused["503 with Retry-After"] == 0 {
				t.Errorf("visitor %d: none of 100 requests gets 503: %v", i, refused)
			}
		}
		if resp := p.raw("GET / HTTP/1.1\nHost: " + domain + "\n\n"); resp.StatusCode != 200 {
			t.Errorf("an honest visitor meanwhile: %s", resp.Status)
		}
	}
	if peak := publish.RequestMemory(target).Peak(); peak > target.Memory || peak < target.Memory/2 {
		t.Errorf("%d bytes were taken at most, of %d", peak, target.Memory)
	}
	release()
	for _, v := range visitors {
		v.conn.Close()
	}
	awaitUnused(t, target)
}

// A head that there is no memory for gets 503 over HTTP/1.1, too, in the form
// that the visitor takes, and the connection goes on.
func TestHeadWithoutMemoryGets503(t *testing.T) {
	target := handlerTarget(t, func(http.ResponseWriter, *http.Request) {})
	target.Memory = publish.RequestCost + 8<<10
	c := serveTarget(t, target).visitor("http/1.1")
	io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\nAccept: text/html\nX: "+strings.Repeat("a", 9<<10)+"\n\nGET / HTTP/1.1\nHost: $H\nConnection: close\n\n"))
	all, _ := io.ReadAll(c)
	first, second, _ := bytes.Cut(all, []byte("</html>"))
	for _, want := range []string{"HTTP/1.1 503 Service Unavailable\r\n", "\r\nRetry-After: 2\r\n", "Too much at once"} {
		if !bytes.Contains(first, []byte(want)) {
			t.Errorf("the answer has no %q: %q", want, first)
		}
	}
	if !bytes.Contains(second, []byte("HTTP/1.1 200 OK\r\n")) {
		t.Errorf("a small request on the same connection: %q", second)
	}
	awaitUnused(t, target)
}

// Over HTTP/2 such an answer ends with its head: it waits for no window that the
// visitor does not give.
func TestAnswerWithoutMemoryWaitsForNobody(t *testing.T) {
	target := handlerTarget(t, func(http.ResponseWriter, *http.Request) {})
	target.Memory = 1
	v := &headsVisitor{newH2Visitor(t, serveTarget(t, target))}
	defer v.conn.Close()
	v.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for i := range 3 {
		v.send(uint32(1+2*i), 1)
	}
	for n := 0; n < 3; {
		f, err := v.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		h, ok := f.(*http2.MetaHeadersFrame)
		if !ok {
			continue
		}
		n++
		if h.PseudoValue("status") != "503" || !h.StreamEnded() {
			t.Errorf("the answer is %v", h)
		}
	}
}

// Beside the kept bodies of others there may be no memory to keep one: then it
// is passed on all the same, once.
func TestBodyPassesWithoutMemoryToKeepIt(t *testing.T) {
	target := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
	})
	target.Memory = publish.RequestCost + 2<<10
	p := serveTarget(t, target)
	for _, h2 := range []bool{false, true} {
		body := strings.Repeat("b", 30<<10)
		resp, err := p.client(h2).Post("https://"+domain, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(got) != body || err != nil {
			t.Errorf("%s: %d bytes come back of %d, %v", resp.Proto, len(got), len(body), err)
		}
	}
	if peak := publish.RequestMemory(target).Peak(); peak > target.Memory {
		t.Errorf("%d bytes were taken of %d", peak, target.Memory)
	}
	awaitUnused(t, target)
}

// awaitUnused waits until nothing is taken of the target's memory.
func awaitUnused(t *testing.T, target *publish.Target) {
	t.Helper()
	for deadline := time.Now().Add(patience); publish.RequestMemory(target).Used() > 0; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes stay taken", publish.RequestMemory(target).Used())
		}
	}
}
