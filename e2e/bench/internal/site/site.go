// Package site is what all subjects of the benchmark serve, and the visitors of
// it. A request is 16 bytes: what is wanted and how many bytes of it. The web site
// is for what forwards HTTP: the path of a request is the number of bytes.
package site

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

const (
	requestSize = 16
	answerSize  = 16 // of an upload
	chunk       = 64 << 10

	opGet = 1
	opPut = 2
)

// Endless is the size of a download or an upload that the visitor ends by
// closing the connection.
const Endless = 0

// Serve serves the connections of ln until it fails.
func Serve(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			_ = serve(c) // visitors may go at any time
		}()
	}
}

// serve answers requests until the visitor goes.
func serve(c net.Conn) error {
	var req [requestSize]byte
	var buf []byte // only for who wants more than a little
	for {
		if _, err := io.ReadFull(c, req[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint64(req[8:]))
		if buf == nil && (n == Endless || n > 1<<10) {
			buf = make([]byte, chunk)
		}
		var err error
		switch req[0] {
		case opGet:
			err = send(c, n, buf)
		case opPut:
			if err = receive(c, n, buf); err == nil {
				_, err = c.Write(req[:answerSize])
			}
		default:
			err = errors.New("unknown request")
		}
		if err != nil {
			return err
		}
	}
}

func send(w io.Writer, n int64, buf []byte) error {
	if buf == nil {
		buf = make([]byte, n)
	}
	for left := n; n == Endless || left > 0; {
		m := int64(len(buf))
		if n != Endless {
			m = min(m, left)
		}
		if _, err := w.Write(buf[:m]); err != nil {
			return err
		}
		left -= m
	}
	return nil
}

func receive(r io.Reader, n int64, buf []byte) error {
	if buf == nil {
		buf = make([]byte, n)
	}
	for left := n; n == Endless || left > 0; {
		m, err := r.Read(buf)
		if err != nil {
			return err
		}
		left -= int64(m)
	}
	return nil
}

func request(op byte, n int64) []byte {
	req := make([]byte, requestSize)
	req[0] = op
	binary.BigEndian.PutUint64(req[8:], uint64(n))
	return req
}

// Web answers GET /N with N bytes, or with bytes without end.
func Web(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
	if err != nil || n < 0 {
		http.Error(w, "the path is a number of bytes", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if n != Endless {
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	var buf []byte
	if n == Endless || n > 1<<10 {
		buf = make([]byte, chunk)
	}
	_ = send(w, n, buf) // visitors may go at any time
}
