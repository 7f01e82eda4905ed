package proxydial

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// maxAnswer is the longest answer to CONNECT that is read, in bytes.
const maxAnswer = 16 << 10

var (
	errNoHTTP  = errors.New("what answers there is no HTTP proxy")
	errHungUp  = errors.New("it has ended the connection without an answer")
	errCut     = errors.New("it has ended the connection in the middle of its answer")
	errTooLong = fmt.Errorf("%w: its answer is longer than %d bytes", errNoHTTP, maxAnswer)
)

// connect asks an HTTP proxy for the connection (RFC 9110, section 9.3.6).
func (p *Proxy) connect(_ context.Context, conn net.Conn, address string) error {
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: keystay\r\n"
	if u := p.URL.User; u != nil {
		password, _ := u.Password()
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)) + "\r\n"
	}
	if _, err := io.WriteString(conn, request+"\r\n"); err != nil {
		return fmt.Errorf("write CONNECT: %w", err)
	}
	return readAnswer(conn)
}

// readAnswer reads the answer to CONNECT and not a byte beyond it.
func readAnswer(conn io.Reader) error {
	header := &answer{r: conn, left: maxAnswer}
	br := bufio.NewReader(header)
	for {
		//nolint:bodyclose // nothing of a body is read: the connection is closed, or is the tunnel
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
		var network net.Error
		switch {
		case header.left == 0:
			return errTooLong
		case errors.As(err, &network):
			return fmt.Errorf("read the answer to CONNECT: %w", err)
		case err != nil && header.ended && len(header.begin) == 0:
			return errHungUp
		case err != nil && header.ended && strings.HasPrefix("HTTP/", string(header.begin)):
			return errCut
		case err != nil:
			return errNoHTTP // its text repeats what was read
		case resp.StatusCode < 200: // an interim answer
			continue
		case resp.StatusCode < 300:
			return nil
		}
		e := &Error{Status: resp.StatusCode}
		if e.Status == http.StatusProxyAuthRequired {
			e.noBasic = !offersBasic(resp.Header.Values("Proxy-Authenticate"))
		}
		return e
	}
}

// offersBasic reports whether a proxy takes a user and password as they are
// (RFC 7617). A proxy that does not say what it takes may.
func offersBasic(challenges []string) bool {
	for _, c := range challenges {
		for part := range strings.SplitSeq(c, ",") {
			if scheme, _, _ := strings.Cut(strings.TrimSpace(part), " "); strings.EqualFold(scheme, "Basic") {
				return true
			}
		}
	}
	return len(challenges) == 0
}

// An answer hands out one byte at a time, so that a buffer above it never holds
// more than was asked for, and not more than left.
type answer struct {
	r     io.Reader
	left  int
	begin []byte // the first five bytes of it all, or what there is
	ended bool
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := a.r.Read(p[:min(len(p), 1)])
	a.left -= n
	a.ended = a.ended || err == io.EOF
	if len(a.begin) < len("HTTP/") {
		a.begin = append(a.begin, p[:n]...)
	}
	return n, err
}
