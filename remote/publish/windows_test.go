package publish_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/remote/publish"
)

// windows reads what an HTTP/2 end says at its beginning: the window of each
// stream and that of the connection.
func windows(t *testing.T, fr *http2.Framer) (stream, conn, streams uint32) {
	t.Helper()
	for conn = 65535; stream == 0 || conn == 65535; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if f.IsAck() {
				continue
			}
			stream, _ = f.Value(http2.SettingInitialWindowSize)
			streams, _ = f.Value(http2.SettingMaxConcurrentStreams)
		case *http2.WindowUpdateFrame:
			conn += f.Increment
		}
	}
	return stream, conn, streams
}

// The first visitors over HTTP/2 have windows that fit a long path. The others
// have small ones, so that what all of them may make this process hold is
// bounded. Who leaves makes room.
func TestWindowsOfVisitorsAreBounded(t *testing.T) {
	p := publishHandler(t, nil)
	visit := func() (*tls.Conn, uint32) {
		v := p.visitor("h2")
		io.WriteString(v, http2.ClientPreface)
		fr := http2.NewFramer(v, v)
		fr.WriteSettings()
		stream, conn, streams := windows(t, fr)
		if stream != conn || streams != publish.MaxVisitorStreams {
			t.Errorf("windows of %d and %d, %d streams", stream, conn, streams)
		}
		return v, conn
	}
	var first *tls.Conn
	for i := range publish.MaxLarge {
		v, window := visit()
		if window != publish.LargeUpload {
			t.Errorf("visitor %d: a window of %d, want %d", i, window, publish.LargeUpload)
		}
		first = v
	}
	if _, window := visit(); window != publish.SmallUpload {
		t.Errorf("one more: a window of %d, want %d", window, publish.SmallUpload)
	}
	first.Close()
	for deadline := time.Now().Add(patience); ; {
		v, window := visit()
		if window == publish.LargeUpload {
			break
		}
		v.Close()
		if time.Now().After(deadline) {
			t.Fatal("the room of the visitor who left stays taken")
		}
	}
}

// So is what a service that speaks HTTP/2 may send that the visitor does not
// read.
func TestWindowsOfServices(t *testing.T) {
	type sizes struct{ stream, conn uint32 }
	got := make(chan sizes, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer rawAccept(ln, func(c net.Conn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		fr := http2.NewFramer(c, c)
		stream, conn, _ := windows(t, fr)
		got <- sizes{stream, conn - 65535} // net/http adds its own to the least
		fr.WriteSettings()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := f.(*http2.HeadersFrame); ok {
				h2Answer(fr, h.StreamID, "200", "")
			}
		}
	})()
	target := tcpTarget("http", ln.Addr())
	target.H2C = true
	p := serveTarget(t, target)
	for i := range publish.MaxLarge + 1 {
		want := sizes{publish.LargeAnswer, publish.LargeAnswers}
		if i == publish.MaxLarge {
			want = sizes{publish.SmallAnswer, publish.SmallAnswers}
		}
		get(t, p.client(i%2 == 0))
		if s := <-got; s != want {
			t.Errorf("visitor %d: windows of %v, want %v", i, s, want)
		}
	}
}
