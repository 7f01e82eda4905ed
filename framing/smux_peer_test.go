package framing_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/xtaci/smux"

	"keystay/framing"
)

// A muxPipe is what smux runs on: the payloads of MUX records. It skips others.
type muxPipe struct {
	io.ReadWriteCloser
	left int
}

func (p *muxPipe) Read(b []byte) (int, error) {
	for p.left == 0 {
		var h [3]byte
		if _, err := io.ReadFull(p.ReadWriteCloser, h[:]); err != nil {
			return 0, err
		}
		n := int(h[1])<<8 | int(h[2])
		if h[0] == muxRecord {
			p.left = n
		} else if _, err := io.CopyN(io.Discard, p.ReadWriteCloser, int64(n)); err != nil {
			return 0, err
		}
	}
	n, err := p.ReadWriteCloser.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

func (p *muxPipe) Write(b []byte) (int, error) {
	if _, err := p.ReadWriteCloser.Write(rec(muxRecord, b)); err != nil {
		return 0, err
	}
	return len(b), nil
}

func smuxConfig() *smux.Config {
	c := smux.DefaultConfig()
	c.Version, c.KeepAliveDisabled = 2, true
	return c
}

// record reads a stream record.
func record(t *testing.T, r io.Reader) (typ byte, payload []byte) {
	t.Helper()
	var h [3]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, int(h[1])<<8|int(h[2]))
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	return h[0], payload
}

// until reads records up to END, and returns what DATA there was.
func until(t *testing.T, r io.Reader) (data []byte) {
	t.Helper()
	for {
		switch typ, p := record(t, r); typ {
		case dataRec:
			data = append(data, p...)
		case endRec:
			return data
		}
	}
}

// closed reads to our FIN.
func closed(t *testing.T, sm *smux.Stream) {
	t.Helper()
	for b := make([]byte, 1<<10); ; {
		if _, err := sm.Read(b); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the end of a stream: %v", err)
		}
	}
	sm.Close()
}

// A remote that runs smux itself serves streams of ours: it knows what opens and
// ends them, and what its window is told.
func TestSmuxAtTheRemote(t *testing.T) {
	relay, p := rawRemote(t, framing.Handler{})
	answer := randomBytes(1 << 20) // more than smux's first window
	streams := make(chan *framing.Stream, 1)
	visit := func() {
		s, err := relay.Open(header, []byte("hello"))
		if err != nil {
			t.Error(err)
			close(streams)
			return
		}
		streams <- s
	}
	go visit()
	p.expect(startMux)
	session, err := smux.Server(&muxPipe{ReadWriteCloser: p.conn}, smuxConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var last *smux.Stream
	for visits := range 4 {
		sm, err := session.AcceptStream()
		if err != nil {
			t.Fatal(err)
		}
		v, ok := <-streams
		if !ok {
			return
		}
		if last != nil { // our FIN came along with what opened this one
			closed(t, last)
		}
		last = sm
		if typ, _ := record(t, sm); typ != headerRec {
			t.Fatalf("the first record is 0x%02x", typ)
		}
		v.CloseWrite()
		if got := until(t, sm); string(got) != "hello" {
			t.Errorf("the remote got %q", got)
		}
		go func() {
			for left := answer; len(left) > 0; {
				n := min(len(left), 16<<10)
				sm.Write(rec(dataRec, left[:n]))
				left = left[n:]
			}
			sm.Write(rec(endRec))
		}()
		if got, err := io.ReadAll(v); err != nil || !bytes.Equal(got, answer) {
			t.Errorf("the visitor got %d bytes of %d, %v", len(got), len(answer), err)
		}
		v.Close()
		if visits < 3 {
			go visit()
		}
	}
}

// A relay that runs smux itself opens streams at a remote of ours.
func TestSmuxAtTheRelay(t *testing.T) {
	remote, p := rawRelay(t, framing.Handler{})
	p.send(rec(startMux, []byte{2}))
	session, err := smux.Client(&muxPipe{ReadWriteCloser: p.conn}, smuxConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	var last *smux.Stream
	for range 4 {
		sm, err := session.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		sm.Write(cat(goodHeader(), rec(dataRec, []byte("hello")), rec(endRec)))
		d, err := remote.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(d); string(got) != "hello" || err != nil {
			t.Errorf("the device got %q, %v", got, err)
		}
		io.WriteString(d, "served")
		d.Close()
		if got := until(t, sm); string(got) != "served" {
			t.Errorf("the visitor got %q", got)
		}
		if last != nil { // our FIN for it came along with that
			closed(t, last)
		}
		last = sm
	}
}
