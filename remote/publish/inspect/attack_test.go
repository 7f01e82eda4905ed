package inspect

import (
	"bytes"
	"compress/flate"
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// allocated is what f takes from the heap, in bytes, of which the most is garbage.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Each line of JSON is moved in by its depth: a body of little text may be laid out as
// gigabytes. It is shown as it came then.
func TestDeepJSONIsNotBlownUp(t *testing.T) {
	const deep = 3000
	body := strings.Repeat("[", deep) + strings.Repeat("1,", 3000) + "1" + strings.Repeat("]", deep)
	var r readable
	if n := allocated(func() { r = laidOut(messageOf([]byte(body), "Content-Type", "application/json")) }); n > 8<<20 {
		t.Errorf("%d bytes of JSON take %d bytes", len(body), n)
	}
	if r.Kind != "text" || r.Text != body {
		t.Errorf("it is shown as %s of %d bytes", r.Kind, len(r.Text))
	}
	inString := `["` + strings.Repeat("[,", 20000) + `\"["]`
	if r := laidOut(messageOf([]byte(inString), "Content-Type", "application/json")); r.Kind != "JSON" {
		t.Errorf("what stands in a string is counted as depth: %s", r.Kind)
	}
}

// bombs are messages of a WebSocket or of gRPC, each of which stands for almost maxDecoded
// bytes.
func bombs(t *testing.T, n int, pack func([]byte) []byte) (list []frame) {
	t.Helper()
	b := pack(make([]byte, maxDecoded-1))
	if len(b) > maxFrame {
		t.Fatalf("a bomb has %d bytes", len(b))
	}
	for range n {
		list = append(list, frame{kind: "binary", data: b, size: int64(len(b)), compressed: true})
	}
	return list
}

// deflated is a message as permessage-deflate sends it.
func deflated(p []byte) []byte {
	var b bytes.Buffer
	z, _ := flate.NewWriter(&b, 9)
	_, _ = z.Write(p)
	_ = z.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// Messages of a byte that may lean on a whole window before them cost what they are, and
// not a window each.
func TestSmallCompressedMessagesAreCheap(t *testing.T) {
	list := []frame{{kind: "binary", data: deflated(make([]byte, window)), compressed: true}}
	for small := deflated([]byte("a")); len(list) <= maxFrames/frameCost; {
		list = append(list, frame{kind: "binary", data: small, compressed: true})
	}
	for i := range list {
		list[i].size = int64(len(list[i].data))
	}
	var got []frame
	if n := allocated(func() { got = inflated(&content{switched: true, frames: list}, nil) }); n > 4<<20 {
		t.Errorf("%d messages take %d bytes", len(list), n)
	}
	if last := got[len(got)-1]; last.compressed || string(last.data) != "a" {
		t.Errorf("the last one is %q", last.data)
	}
}

// Messages that stand for much are read as far as one page may take, and what is kept of
// each for that page is what it shows.
func TestCompressedMessagesAreNotBlownUp(t *testing.T) {
	for what, c := range map[string]*content{
		"WebSocket": {switched: true, frames: bombs(t, 200, deflated)},
		"gRPC":      {frames: bombs(t, 200, gzipped)},
	} {
		var list []frame
		if n := allocated(func() { list = inflated(c, http.Header{"Grpc-Encoding": {"gzip"}}) }); n > 12*maxInflated {
			t.Errorf("%s: %d bytes are taken", what, n)
		}
		read := 0
		for _, f := range list {
			if cap(f.data) > 2*maxFrame {
				t.Fatalf("%s: %d bytes are held", what, cap(f.data))
			}
			if !f.compressed {
				read++
			}
		}
		if read == 0 || read > maxInflated/(maxDecoded-1)+1 {
			t.Errorf("%s: %d messages are read", what, read)
		}
	}
}

// All texts of a head that a visitor chooses are counted, the method among them.
func TestLongMethodsAreCounted(t *testing.T) {
	r := newRig(t, echo)
	const long = 50_000
	r.visit(strings.Repeat("M", long), "/", "")
	r.in.mu.Lock()
	defer r.in.mu.Unlock()
	if r.in.used < long {
		t.Errorf("a method of %d bytes counts %d", long, r.in.used)
	}
}

// A command is pasted into a terminal: nothing in it is a key there, nor a pattern of
// curl's, nor a path that curl tidies.
func TestCurlIsSafeToPaste(t *testing.T) {
	for _, body := range []string{"a\x1b[201~\nreboot\n", "\u009b201~\nreboot\n", "a\rb", "a\fb", "\x7f\x7f"} {
		r := newRig(t, echo)
		r.visit("POST", "/", body)
		e := r.newest()
		c := e.look()
		got := curl(e.exchange, &c, false)
		if strings.ContainsAny(got, "\x1b\u009b\r\f\x7f") {
			t.Errorf("%q gives %q", body, got)
		}
	}
	r := newRig(t, echo)
	r.visit("GET", "/../[1-1000000]/{a,b}", "", "X-Text", "a\u009b201~b")
	e := r.newest()
	c := e.look()
	got := curl(e.exchange, &c, false)
	for _, want := range []string{"--globoff", "--path-as-is"} {
		if !strings.Contains(got, want) {
			t.Errorf("without %s: %s", want, got)
		}
	}
	if strings.Contains(got, "\u009b") {
		t.Errorf("%q", got)
	}
}

// Fields that carry a secret under a longer name, or with the words written as one, are
// masked as well.
func TestSecretsOfOtherNamesAreMasked(t *testing.T) {
	for _, name := range []string{"X-Authorization", "PROXY-AUTHORIZATION", "Service_Authorization", "X-Set-Cookie", "AccessToken", "X-AuthToken", "sessiontoken",
		"ClientSecret", "X-SessionKey", "X-Passphrase", "X-Bearer", "X-UserPassword", "Api_Key", "AppKey", "X-AccessKey"} {
		if !isSecret(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"Content-Type", "Author", "X-Keystay-Replay", "Sec-WebSocket-Key", "Idempotency-Key", "X-Monkey", "Accept", "Www-Authenticate", "X-Cookies-Enabled"} {
		if isSecret(name) {
			t.Errorf("%s is masked", name)
		}
	}
}

// A search decodes bodies once, whatever it looks for, up to a limit, and says where it has
// not looked.
func TestASearchDecodesSoMuch(t *testing.T) {
	r := newRig(t, echo)
	body := string(gzipped(append([]byte("needle"), make([]byte, maxDecoded-6)...)))
	const n = 2 * maxSearched / maxDecoded
	r.visit("POST", "/oldest", string(gzipped([]byte("needle"))), "Content-Encoding", "gzip")
	for range n {
		r.visit("POST", "/", body, "Content-Encoding", "gzip")
	}
	req := httptest.NewRequest("GET", "/?q=needle+-hay", nil)
	f := r.page.found(req, 10*n)
	if len(f.rows) != maxSearched/maxDecoded || !f.packed || f.kept != n+1 {
		t.Errorf("%d of %d are found, packed is %t", len(f.rows), f.kept, f.packed)
	}
	if got := r.get("/?q=needle"); !strings.Contains(got, "nothing was looked for") {
		t.Error("the page does not say so")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := r.page.found(req.WithContext(ctx), 10*n); len(f.rows) != 0 {
		t.Errorf("for who has gone %d are found", len(f.rows))
	}
	if f := r.page.found(httptest.NewRequest("GET", "/?q=method:post", nil), 10*n); len(f.rows) != n+1 || f.packed {
		t.Errorf("by method %d are found", len(f.rows))
	}
}

// Bodies that cannot be decoded count as well: a few bytes of brotli ask for 16 MiB, and a
// search is made anew with each request that comes meanwhile.
func TestASearchTriesSoManyBrokenBodies(t *testing.T) {
	for coding, body := range map[string]string{"br": "\x0f\xff\xff\xff\x00x", "gzip": "\x1f\x8b", "deflate": "\xff"} {
		r := newRig(t, echo)
		for range 2 * maxSearched / brokenWork {
			r.visit("POST", "/", body, "Content-Encoding", coding)
		}
		if f := r.page.found(httptest.NewRequest("GET", "/?q=needle", nil), 10); len(f.rows) != 0 || !f.packed {
			t.Errorf("%s: %d are found, packed is %t", coding, len(f.rows), f.packed)
		}
	}
}
