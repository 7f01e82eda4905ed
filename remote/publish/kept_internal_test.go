package publish

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"keystay/internal/budget"
)

// keep is a request with a body of so many bytes, with its reader and its end.
func keep(v *visit, size int) (req *http.Request, data []byte, release func()) {
	data = bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
	req, _ = http.NewRequest("POST", "https://xyz.relay.test", io.NopCloser(bytes.NewReader(data)))
	return req, data, keepBody(req, v, nil)
}

// read takes n bytes of a body.
func read(t *testing.T, r io.Reader, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// A body can be had again from its beginning as often as one likes, until more
// of it was read than is kept.
func TestKeptBodyIsReadAgain(t *testing.T) {
	var v visit
	req, data, release := keep(&v, keptBody+10)
	first := req.Body
	for _, n := range []int{0, 1, 5000, keptBody, 70} {
		if got := read(t, req.Body, n); !bytes.Equal(got, data[:n]) {
			t.Errorf("the first %d bytes differ", n)
		}
		req.Body.Close()
		if n, err := req.Body.Read(make([]byte, 1)); n > 0 || err != http.ErrBodyReadAfterClose {
			t.Errorf("a closed reader reads on: %d, %v", n, err)
		}
		req.Body, _ = req.GetBody()
	}
	if kept := v.kept.Load(); kept != keptBody {
		t.Errorf("%d bytes count as kept, want %d", kept, keptBody)
	}
	if got, err := io.ReadAll(req.Body); !bytes.Equal(got, data) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := req.GetBody(); err != errBodyGone {
		t.Errorf("once more: %v", err)
	}
	if n, _ := first.Read(make([]byte, 1)); n > 0 {
		t.Error("the first reader reads on")
	}
	release()
	if kept := v.kept.Load(); kept != 0 {
		t.Errorf("%d bytes count as kept behind the end", kept)
	}
}

// Behind release a reader still gets what it has not read, and nobody another.
func TestKeptBodyIsReleased(t *testing.T) {
	var v visit
	req, data, release := keep(&v, 5000)
	read(t, req.Body, 4000)
	req.Body, _ = req.GetBody()
	read(t, req.Body, 1000)
	release()
	if _, err := req.GetBody(); err != errBodyGone {
		t.Errorf("another reader: %v", err)
	}
	if got, err := io.ReadAll(req.Body); !bytes.Equal(got, data[1000:]) || err != nil {
		t.Errorf("%d bytes, %v; want 4000", len(got), err)
	}
	if kept := v.kept.Load(); kept != 0 {
		t.Errorf("%d bytes count as kept", kept)
	}
}

// All requests of a visitor's connection together keep keptVisit; what is more
// is passed on all the same.
func TestKeptBodiesOfAVisitAreBounded(t *testing.T) {
	var v visit
	var releases []func()
	for range keptVisit/keptBody + 8 {
		req, data, release := keep(&v, keptBody)
		releases = append(releases, release)
		if got := read(t, req.Body, keptBody); !bytes.Equal(got, data) {
			t.Error("the body differs")
		}
		if kept := v.kept.Load(); kept > keptVisit {
			t.Fatalf("%d bytes are kept, want %d at most", kept, keptVisit)
		}
	}
	if kept := v.kept.Load(); kept != keptVisit {
		t.Errorf("%d bytes are kept, want %d", kept, keptVisit)
	}
	for _, release := range releases {
		release()
	}
	if kept := v.kept.Load(); kept != 0 {
		t.Errorf("%d bytes are kept behind the end", kept)
	}
}

// However uploads end, nothing of them counts as kept behind their end: also where
// the request is over while its body is read, or with a reader that was closed in
// the middle.
func TestKeptBodyGivesAllBack(t *testing.T) {
	for name, end := range map[string]func(req *http.Request, release func(), more io.Writer){
		"release within a read": func(req *http.Request, release func(), more io.Writer) {
			read := make(chan struct{})
			go func() { io.Copy(io.Discard, req.Body); close(read) }()
			synctest.Wait()
			release()
			io.WriteString(more, "x")
			more.(io.Closer).Close()
			<-read
		},
		"release within a read of the last": func(req *http.Request, release func(), more io.Writer) {
			old := req.Body
			read := make(chan struct{})
			go func() { old.Read(make([]byte, 100)); close(read) }()
			synctest.Wait()
			req.Body, _ = req.GetBody()
			release()
			io.WriteString(more, "x")
			<-read
			req.Body.Close()
		},
		"close, then release": func(req *http.Request, release func(), more io.Writer) {
			go io.WriteString(more, "hello")
			req.Body.Read(make([]byte, 5))
			req.Body, _ = req.GetBody()
			req.Body.Close()
			release()
		},
		"release, then close": func(req *http.Request, release func(), more io.Writer) {
			go io.WriteString(more, "hello")
			req.Body.Read(make([]byte, 5))
			req.Body, _ = req.GetBody()
			release()
			req.Body.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := budget.New(1 << 20)
				v := &visit{memory: b.Share()}
				in, out := io.Pipe()
				req, _ := http.NewRequest("POST", "https://xyz.relay.test", in)
				end(req, keepBody(req, v, nil), out)
				out.Close()
				if v.kept.Load() != 0 || b.Used() != 0 {
					t.Errorf("%d bytes count as kept, %d as taken", v.kept.Load(), b.Used())
				}
				if b.Peak() == 0 {
					t.Error("nothing was ever taken")
				}
			})
		})
	}
}

// Each try of a request has trailers of its own, and they are there when it has read the
// body: of two tries that look at one map while it is filled in, Go ends the program.
func TestTriesHaveTrailersOfTheirOwn(t *testing.T) {
	visitors := http.Header{"X-Sum": nil} // what was announced
	in, out := io.Pipe()
	req, _ := http.NewRequest("PUT", "https://xyz.relay.test", in)
	req.Trailer = http.Header{"X-Sum": nil}
	var v visit
	defer keepBody(req, &v, visitors)()
	left := make(chan error, 1)
	go func() {
		_, err := io.ReadAll(req.Body) // the first try, on a connection that has broken
		left <- err
	}()
	io.WriteString(out, "ab")
	again, ok := rewind(req)
	if !ok {
		t.Fatal("there is no second try")
	}
	visitors["X-Sum"], visitors["X-More"] = []string{"1"}, []string{"2"} // as net/http does at the end
	out.Close()
	<-left
	if text, err := io.ReadAll(again.Body); string(text) != "ab" || err != nil {
		t.Errorf("the second try reads %q, %v", text, err)
	}
	if req.Trailer["X-Sum"] != nil || len(req.Trailer) > 1 {
		t.Errorf("the first try's map is filled in: %v", req.Trailer)
	}
	if again.Trailer.Get("X-Sum") != "1" || again.Trailer.Get("X-More") != "2" {
		t.Errorf("the second try has the trailers %v", again.Trailer)
	}
}
