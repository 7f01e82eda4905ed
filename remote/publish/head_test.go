package publish

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

// fromNetHTTP reads requests as net/http does, and returns the names of each that
// has been read whole.
func fromNetHTTP(raw []byte) (all []http.Header) {
	br := bufio.NewReader(bytes.NewReader(raw))
	for {
		r, err := http.ReadRequest(br)
		if err != nil || r.ProtoMajor != 1 {
			return all
		}
		all = append(all, r.Header)
		if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect || r.ProtoMinor == 0 {
			return all
		}
	}
}

// A follower, as long as it has not lost its place, is where net/http is: each of
// its heads belongs to the request of the same number, in whatever pieces the
// bytes come.
func FuzzFollower(f *testing.F) {
	for _, raw := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\nx-A: 1\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nx-a: 1\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\nX-B: 1\r\n\r\n",
		"PUT / HTTP/1.1\nHost: a\ntransfer-encoding: chunked\n\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\nGET / HTTP/1.1\nHost: a\nx-c: d\n\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nx-c: 1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\nanything",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nx-fold: a\r\n b: c\r\n\r\n",
	} {
		f.Add([]byte(raw), uint8(1))
		f.Add([]byte(raw), uint8(7))
	}
	f.Fuzz(func(t *testing.T, raw []byte, piece uint8) {
		want := fromNetHTTP(raw)
		var got []head
		var in follower
		for rest := raw; len(rest) > 0; {
			n := min(int(piece)+1, len(rest))
			for p := rest[:n]; len(p) > 0; {
				k := in.follow(p, func(h head) { got = append(got, h) })
				if k <= 0 || k > len(p) {
					t.Fatalf("%d of %d bytes", k, len(p))
				}
				p = p[k:]
			}
			rest = rest[n:]
		}
		for i, h := range got[:min(len(got), len(want))] {
			for _, name := range h.spelling {
				canonical := http.CanonicalHeaderKey(strings.TrimRight(name, " \t"))
				if _, ok := want[i][canonical]; !ok && canonical != "Host" && canonical != "Transfer-Encoding" && canonical != "Content-Length" && canonical != "Trailer" {
					t.Errorf("request %d of %q has no %q, but %v", i, raw, name, want[i])
				}
			}
		}
		if len(in.line) > maxLine {
			t.Errorf("%d bytes of a line are kept", len(in.line))
		}
	})
}

// Of an answer a follower knows how much of its body has come, and its end.
func TestFollowerOfAnswers(t *testing.T) {
	for _, tt := range []struct {
		method, raw string
		payload     int64
		over        bool
		spelling    string
	}{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5, true, ""},
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 3, false, ""},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0, true, ""},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 0, true, ""},
		{"GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n", 5, false, "transfer-encoding"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 5, true, ""},
		{"GET", "HTTP/1.0 200 OK\r\nx-A: 1\r\n\r\nhello", 5, false, "x-A"},
		{"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-aB: 1\r\nContent-Length: 0\r\n\r\n", 0, true, "X-aB"},
		{"GET", "HTTP/1.1 101 Switching Protocols\r\n\r\nanything\r\n\r\n", 0, true, ""},
		{"GET", "ICY 200 OK\r\n\r\nhello", 0, false, ""},
		{"GET", "HTTP/1.1 200 OK\r\nx-long: " + strings.Repeat("a", maxLine) + "\r\nContent-Length: 5\r\n\r\nhello", 0, false, ""},
	} {
		for piece := 1; piece < len(tt.raw); piece += 1 + piece {
			var in follower
			in.next(tt.method)
			spelling := ""
			for rest := []byte(tt.raw); len(rest) > 0; {
				n := min(piece, len(rest))
				for p := rest[:n]; len(p) > 0; {
					p = p[in.follow(p, func(h head) { spelling = strings.Join(h.spelling, " ") }):]
				}
				rest = rest[n:]
			}
			if in.payload != tt.payload || (in.place == over) != tt.over || spelling != tt.spelling {
				t.Errorf("%.60q in pieces of %d: %d bytes, place %d, %q", tt.raw, piece, in.payload, in.place, spelling)
			}
		}
	}
}
