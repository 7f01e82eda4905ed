package main

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"

	"github.com/xtaci/smux"
)

// Stream records, section 6 of PROTOCOL.md.
const data, end, reset, credit = 0x02, 0x03, 0x04, 0x05

// A visitor is the connection of one visitor, for one goroutine: a net.Conn on a
// smux stream.
type visitor struct {
	*smux.Stream
	in   []byte // DATA that nobody has read
	read int    // bytes read and not granted again
	left int    // credit: bytes that may be sent
	over error  // why nothing more comes: io.EOF after END
}

// next reads one record. HEADER tells the visitor's address, which is of no use here.
func (v *visitor) next() {
	var h [3]byte
	_, err := io.ReadFull(v.Stream, h[:])
	p := make([]byte, binary.BigEndian.Uint16(h[1:]))
	if err == nil {
		_, err = io.ReadFull(v.Stream, p)
	}
	switch {
	case err != nil: // FIN without END is no end
		v.over = io.ErrUnexpectedEOF
	case h[0] == data:
		v.in = append(v.in, p...)
	case h[0] == end:
		v.over = io.EOF
	case h[0] == reset:
		v.over = syscall.ECONNRESET
	case h[0] == credit:
		v.left += int(binary.BigEndian.Uint32(p))
	}
}

func (v *visitor) send(t byte, payload []byte) error {
	_, err := v.Stream.Write(append([]byte{t, byte(len(payload) >> 8), byte(len(payload))}, payload...))
	return err
}

func (v *visitor) Read(b []byte) (int, error) {
	for len(v.in) == 0 {
		if v.over != nil {
			return 0, v.over
		}
		v.next()
	}
	n := copy(b, v.in)
	v.in = v.in[n:]
	if v.read += n; v.read >= 8<<10 && v.over == nil { // one CREDIT for each DATA could be a flood
		v.send(credit, binary.BigEndian.AppendUint32(nil, uint32(v.read)))
		v.read = 0
	}
	return n, nil
}

func (v *visitor) Write(b []byte) (n int, err error) {
	for n < len(b) {
		for v.left == 0 { // CREDIT comes after END, too
			if v.next(); v.over != nil && v.over != io.EOF {
				return n, v.over
			}
		}
		k := min(len(b)-n, v.left, 16<<10)
		if err := v.send(data, b[n:n+k]); err != nil {
			return n, err
		}
		n, v.left = n+k, v.left-k
	}
	return n, nil
}

// Close says END and waits for the other side's, for up to 10 s. Only then is it
// smux's turn: FIN before both ends would be a reset.
func (v *visitor) Close() error {
	if v.over == nil || v.over == io.EOF { // else FIN alone, since it was cut off
		v.send(end, nil)
	}
	for v.SetReadDeadline(time.Now().Add(10 * time.Second)); v.over == nil; {
		v.next()
	}
	return v.Stream.Close()
}

// serve answers one request. Nobody keeps the next visitor waiting for more than a
// minute.
func serve(sm *smux.Stream, config *tls.Config) {
	v := &visitor{Stream: sm, left: 16 << 10}
	defer v.Close()
	v.SetDeadline(time.Now().Add(time.Minute))
	c := tls.Server(v, config)
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	page := fmt.Sprintf("%s %s, %d bytes, over stock smux\n", r.Method, r.URL, n)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(page), page)
	c.CloseWrite()
}
