package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// headers is a flag that may repeat.
type headers []string

func (h *headers) String() string     { return strings.Join(*h, ", ") }
func (h *headers) Set(s string) error { *h = append(*h, s); return nil }

// client returns an HTTP client; conns gets each connection it makes.
func (v *visitor) client(http1, http2 bool, conns chan<- *speaker) (*http.Client, error) {
	config, err := v.tls()
	if err != nil {
		return nil, err
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(!http1)
	tr := &http.Transport{
		Protocols:             protocols,
		TLSClientConfig:       config,
		ExpectContinueTimeout: limit,
		DisableCompression:    true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := v.dial(ctx)
			if err != nil {
				return nil, err
			}
			s := &speaker{TCPConn: c, broken: make(chan struct{})}
			select {
			case conns <- s:
			default:
			}
			return s, nil
		},
	}
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, nil
}

// A speaker says when its first bytes are on their way: the ClientHello.
type speaker struct {
	*net.TCPConn
	broken       chan struct{} // closed when a Read has failed
	spoke, broke sync.Once
}

// Read implements net.Conn.
func (s *speaker) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	if err != nil {
		s.broke.Do(func() { close(s.broken) })
	}
	return n, err
}

// Write implements net.Conn.
func (s *speaker) Write(p []byte) (int, error) {
	defer s.spoke.Do(func() { fmt.Fprintln(os.Stderr, "hello sent") })
	return s.TCPConn.Write(p)
}

// A request is what get was asked to do.
type request struct {
	http1, http2, plain, chunked, expect  bool
	method, host, trailer, abort, arrived string
	upload                                int64
	head                                  headers
}

func (q *request) flags(f *flag.FlagSet) {
	f.BoolVar(&q.http1, "1", false, "speak HTTP/1.1")
	f.BoolVar(&q.http2, "2", false, "speak HTTP/2")
	f.BoolVar(&q.plain, "plain", false, "go to the relay's port for plain HTTP")
	f.StringVar(&q.method, "method", "", "the request's `METHOD`")
	f.StringVar(&q.host, "host", "", "the request's Host, where it is not the URL's")
	f.Int64Var(&q.upload, "upload", -1, "send a body of `N` bytes")
	f.BoolVar(&q.chunked, "chunked", false, "do not say how long the body is")
	f.BoolVar(&q.expect, "expect", false, "wait for 100 Continue before the body")
	f.StringVar(&q.trailer, "trailer", "", "end the body with the trailer X-Visitor and this `VALUE`")
	f.StringVar(&q.abort, "abort", "", "break off in the middle of the body: `HOW` is reset, fin, cancel, or never")
	f.StringVar(&q.arrived, "arrived", "", "break off when this `URL` answers")
	f.Var(&q.head, "H", "a header, `NAME: VALUE`")
}

// get makes one request and prints the whole answer.
func (v *visitor) get(ctx context.Context, args []string) error {
	var q request
	q.flags(v.flags)
	args, err := v.parse(args, 1)
	if err != nil {
		return err
	}
	if q.plain {
		v.via = os.Getenv("VISIT_PLAIN")
	}
	conns := make(chan *speaker, 1)
	client, err := v.client(q.http1, q.http2, conns)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report := &trace{}
	req, sent, err := q.request(httptrace.WithClientTrace(ctx, report.client()), args[0])
	if err != nil {
		return err
	}
	if q.abort != "" {
		sent.stop = func() error {
			if err := v.ask(ctx, q.arrived); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr, "half sent")
			return breakOff(ctx, q.abort, <-conns, cancel)
		}
	}
	resp, err := client.Do(req)
	if sent != nil {
		fmt.Printf("sent %d bytes sha256 %x\n", sent.n.Load(), sent.sum.Sum(nil))
	}
	if report.continued.Load() {
		fmt.Println("100 Continue")
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return show(os.Stdout, resp)
}

// request returns the request and its body, nil for none.
func (q *request) request(ctx context.Context, url string) (*http.Request, *body, error) {
	req, err := http.NewRequestWithContext(ctx, cmp.Or(q.method, "GET"), url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Host = q.host
	for _, h := range q.head {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(name, strings.TrimSpace(value))
	}
	if q.expect {
		req.Header.Set("Expect", "100-continue")
	}
	if q.trailer != "" {
		req.Trailer = http.Header{"X-Visitor": {q.trailer}}
	}
	if q.upload < 0 {
		return req, nil, nil
	}
	sent := newBody(q.upload)
	req.Method = cmp.Or(q.method, "POST")
	req.Body, req.ContentLength = sent, q.upload
	if q.chunked || q.trailer != "" {
		req.ContentLength = -1
	}
	return req, sent, nil
}

// A trace notes what the client does not return.
type trace struct{ continued atomic.Bool }

func (t *trace) client() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{Got100Continue: func() { t.continued.Store(true) }}
}

// breakOff ends a request in the middle, in one of the ways that there are.
func breakOff(ctx context.Context, how string, c *speaker, cancel func()) error {
	switch how {
	case "reset": // as when the visitor's machine crashes
		c.SetLinger(0)
		c.Close()
	case "fin": // as when the visitor's program dies
		c.Close()
	case "cancel": // as when a person closes the page
		cancel()
	case "never": // somebody else will
		select {
		case <-c.broken:
		case <-ctx.Done():
		}
	default:
		return fmt.Errorf("no such way to break off: %s", how)
	}
	return errors.New("broken off")
}

// ask fetches a URL on a connection of its own.
func (v *visitor) ask(ctx context.Context, url string) error {
	client, err := v.client(true, false, nil)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// show prints a response: text as it comes, of other bodies size and hash.
func show(w io.Writer, resp *http.Response) error {
	fmt.Fprintf(w, "%s %s\n", resp.Proto, resp.Status)
	showHeader(w, "", resp.Header)
	fmt.Fprintln(w)
	sum := sha256.New()
	to := io.Writer(sum)
	kind := resp.Header.Get("Content-Type")
	text := strings.HasPrefix(kind, "text/") || kind == "application/json"
	if text {
		to = io.MultiWriter(sum, w)
	}
	n, err := io.Copy(to, resp.Body)
	if !text {
		fmt.Fprintf(w, "body %d bytes sha256 %x\n", n, sum.Sum(nil))
	}
	showHeader(w, "trailer ", resp.Trailer)
	if err != nil {
		return fmt.Errorf("answer broken after %d bytes: %w", n, err)
	}
	return nil
}

func showHeader(w io.Writer, prefix string, h http.Header) {
	var lines []string
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, fmt.Sprintf("%s%s: %s\n", prefix, name, v))
		}
	}
	slices.Sort(lines)
	for _, l := range lines {
		io.WriteString(w, l)
	}
}

// at returns rawURL with another path.
func at(rawURL, path string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	return u.ResolveReference(&url.URL{Path: path}).String(), nil
}

// deadline returns that of ctx.
func deadline(ctx context.Context) time.Time {
	t, _ := ctx.Deadline()
	return t
}
