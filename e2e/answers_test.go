package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"

	"keystay/e2e/internal/world"

	"github.com/coder/websocket"
)

// echo shows the request.
func echo(w http.ResponseWriter, r *http.Request) {
	var lines []string
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	fmt.Fprintf(w, "%s %s %s\nHost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	sum := sha256.New()
	if n, err := io.Copy(sum, r.Body); n > 0 || err != nil {
		fmt.Fprintf(w, "body of %d bytes, %v\n", n, err)
	}
}

// upload takes a body and says whether it was whole.
func (s *site) upload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, io.TeeReader(r.Body, s))
	if err != nil {
		fmt.Fprintf(&s.log, "upload broken after %d bytes: %v\n", n, err)
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(&s.log, "upload whole: %d bytes\n", n)
	fmt.Fprintf(w, "got %d bytes sha256 %x\n", n, sum.Sum(nil))
	if r.ContentLength < 0 {
		fmt.Fprintln(w, "chunked")
	}
	if t := r.Trailer.Get("X-Visitor"); t != "" {
		fmt.Fprintln(w, "trailer", t)
	}
}

// Write counts the bytes of uploads.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrived += int64(len(p))
	close(s.changed)
	s.changed = make(chan struct{})
	return len(p), nil
}

// waitArrived answers when n bytes of uploads have arrived.
func (s *site) waitArrived(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	for {
		s.mu.Lock()
		enough, changed := s.arrived >= n, s.changed
		s.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// download sends n bytes, the same ones that a visitor's upload has; with
// chunked it does not say how many.
func download(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if !r.URL.Query().Has("chunked") {
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	io.CopyN(w, rand.NewChaCha8([32]byte{}), n)
}

// trailer sends trailers, one announced and one not.
func trailer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Announced")
	io.WriteString(w, "a body\n")
	w.Header().Set("X-Announced", "at the end")
	w.Header().Set(http.TrailerPrefix+"X-Surprise", "too")
}

// hold sends the beginning of an answer and the rest when released; with length
// it says how long the whole is.
func (s *site) hold(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	release := s.release
	s.mu.Unlock()
	if r.URL.Query().Has("length") {
		w.Header().Set("Content-Length", strconv.Itoa(len("the beginning\nthe rest\n")))
	}
	if !r.URL.Query().Has("late") {
		io.WriteString(w, "the beginning\n")
		http.NewResponseController(w).Flush()
	}
	fmt.Fprintln(&s.log, "holding")
	select {
	case <-release:
		io.WriteString(w, "the rest\n")
	case <-r.Context().Done():
		fmt.Fprintln(&s.log, "the visitor has gone")
	}
}

// die sends the beginning of an answer and then breaks it off: how is reset or
// fin, and as says where its end should be: length, chunked or close.
func (s *site) die(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	head := map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nthe beginning\n",
		"chunked": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\ne\r\nthe beginning\n\r\n",
		"close":   "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nthe beginning\n",
	}[q.Get("as")]
	s.mu.Lock()
	release := s.release
	s.mu.Unlock()
	buf.WriteString(head)
	buf.Flush()
	fmt.Fprintln(&s.log, "dying")
	<-release
	if q.Get("how") == "reset" {
		conn.(*net.TCPConn).SetLinger(0)
	}
}

// switched switches to a protocol of its own: it speaks first, and then ends as
// it is told, or waits for the visitor to end.
func (s *site) switched(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nthe beginning\n")
	switch r.URL.Query().Get("end") {
	case "fin":
		return
	case "reset":
		s.mu.Lock()
		release := s.release
		s.mu.Unlock()
		fmt.Fprintln(&s.log, "switched")
		<-release
		conn.(*net.TCPConn).SetLinger(0)
		return
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		fmt.Fprintln(&s.log, "switched, then broken:", err)
		return
	}
	fmt.Fprintln(&s.log, "switched, then ended")
	io.WriteString(conn, "the rest\n")
}

// eventCount is how many events the stream has.
const eventCount = 5

// events sends each event when the one before has been confirmed at /seen.
func (s *site) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for n := range eventCount {
		fmt.Fprintf(w, "data: %d\n\n", n+1)
		if rc.Flush() != nil {
			return
		}
		select {
		case <-s.seen:
		case <-r.Context().Done():
			fmt.Fprintln(&s.log, "the visitor has gone")
			return
		}
	}
}

// serveWebSocket sends each message back.
func serveWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(2 << 20)
	ctx, cancel := timeout(world.Patience)
	defer cancel()
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if conn.Write(ctx, kind, data) != nil {
			return
		}
	}
}
