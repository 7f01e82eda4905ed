package publish_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// upload sends a request with a long body over HTTP/1.1 and reads the answer
// meanwhile.
func (p *published) upload(size int) (*http.Response, string, error) {
	v := p.visitor("http/1.1")
	defer v.Close()
	fmt.Fprintf(v, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", domain, size)
	go io.Copy(v, io.LimitReader(zeroes{}, int64(size)))
	resp, err := http.ReadResponse(bufio.NewReader(v), nil)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// publishUploads is serveTarget for services that leave bodies unread: the server
// takes its time over such connections in the end.
func publishUploads(t *testing.T, serve func(*net.TCPConn)) *published {
	p := serveTarget(t, tcpTarget("http", rawService(t, serve)))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		p.srv.Shutdown(ctx)
	})
	return p
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

// A service may answer before it has read the body, and close the connection:
// the system then resets it, but the visitor gets the answer.
func TestEarlyAnswerAndClose(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large"
	p := publishUploads(t, func(c *net.TCPConn) { io.WriteString(c, answer) })
	for range 100 {
		resp, text, err := p.upload(512 << 10)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 413 || text != "too large" {
			t.Fatalf("%s %q", resp.Status, text)
		}
	}
}

// Where the end of the connection is the end of the answer, a reset is none.
func TestEarlyAnswerBreaksOff(t *testing.T) {
	const answer = "HTTP/1.0 413 Content Too Large\r\n\r\npart"
	p := publishUploads(t, func(c *net.TCPConn) {
		io.WriteString(c, answer)
		c.SetLinger(0)
	})
	for range 100 {
		_, text, err := p.upload(512 << 10)
		if err == nil || !strings.HasPrefix("part", text) {
			t.Fatalf("got %q and a good end", text)
		}
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("got %q, %v", text, err)
		}
	}
}

// A service that neither reads on nor answers is down.
func TestServiceClosesWithoutAnswer(t *testing.T) {
	p := publishUploads(t, func(*net.TCPConn) {})
	if resp, _, err := p.upload(512 << 10); err != nil || resp.StatusCode != 502 {
		t.Errorf("%v, %v", resp, err)
	}
}
