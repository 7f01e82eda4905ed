package publish

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// keep is a request with a body of so many bytes, with its reader and its end.
func keep(v *visit, size int) (req *http.Request, data []byte, release func()) {
	data = bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
	req, _ = http.NewRequest("POST", "https://xyz.relay.test", io.NopCloser(bytes.NewReader(data)))
	return req, data, keepBody(req, v)
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
