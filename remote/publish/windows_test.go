package publish_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// windows reads what an HTTP/2 end says at its beginning: the window of each
// stream and that of the connection; up to an answered PING, if one was sent.
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
		case *http2.PingFrame:
			return stream, conn, streams
		}
	}
	return stream, conn, streams
}

// Visitors over HTTP/2 who come early have windows that fit a long path, and no
// visitor has less than package net/http gives. What all of the large ones may
// make this process hold is bounded. Whoever leaves gives its window back, and a
// visitor over HTTP/1.1 takes none.
func TestWindowsOfVisitorsAreBounded(t *testing.T) {
	p := publishHandler(t, func(http.ResponseWriter, *http.Request) {})
	for range publish.MaxLarge + 1 {
		get(t, p.client(false))
	}
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
	var all []*tls.Conn
	var taken, last uint32 = 0, publish.LargeUpload
	count := make(map[uint32]int)
	for last > publish.SmallUpload && len(all) < 100 {
		v, window := visit()
		if window > last {
			t.Errorf("visitor %d: a window of %d behind one of %d", len(all), window, last)
		}
		all, last = append(all, v), window
		count[window]++
		if window > publish.SmallUpload {
			taken += window
		}
	}
	const large = publish.LargeUpload
	if last != publish.SmallUpload || taken > publish.UploadBudget || count[large] < 6 || count[large/2] == 0 || count[large/4] == 0 {
		t.Errorf("windows of %v, %d bytes of the budget, the last one %d", count, taken, last)
	}
	for _, v := range all {
		v.Close()
	}
	for deadline := time.Now().Add(patience); ; {
		v, window := visit()
		if window == large {
			break
		}
		v.Close()
		if time.Now().After(deadline) {
			t.Fatal("the windows of visitors who left stay taken")
		}
	}
}

// What the windows of all visitors may make this process hold is bounded by the
// target's memory, but for the least windows.
func TestWindowsFitTheMemory(t *testing.T) {
	target := handlerTarget(t, func(http.ResponseWriter, *http.Request) {})
	target.Memory = 16 << 20
	p := serveTarget(t, target)
	var all, last uint32
	for range 80 {
		v := p.visitor("h2")
		defer v.Close()
		io.WriteString(v, http2.ClientPreface)
		fr := http2.NewFramer(v, v)
		fr.WriteSettings()
		fr.WritePing(false, [8]byte{})
		_, conn, _ := windows(t, fr)
		if conn < publish.LeastUpload-1 { // net/http does not tell a single byte more
			t.Errorf("a window of %d", conn)
		}
		if last = conn; conn > publish.LeastUpload {
			all += conn
		}
	}
	if last > publish.LeastUpload || int64(all) > target.Memory*3/4 || int64(all) < target.Memory/4 {
		t.Errorf("windows of %d bytes together beside the least, the last one %d; memory %d", all, last, target.Memory)
	}
}

type sizes struct{ stream, conn uint32 }

// So is what a service that speaks HTTP/2 may send that the visitor does not
// read.
func TestWindowsOfServices(t *testing.T) {
	for name, c := range map[string]struct {
		memory int64
		want   []sizes
	}{
		"much": {1 << 30, append(slices.Repeat([]sizes{{publish.LargeAnswer, publish.LargeAnswers}}, publish.MaxLarge), sizes{publish.SmallAnswer, publish.SmallAnswers})},
		"little": {16 << 20, []sizes{{publish.SmallAnswer, publish.SmallAnswers}, {publish.SmallAnswer, publish.SmallAnswers},
			{publish.LeastAnswer, publish.LeastAnswers}, {publish.LeastAnswer, publish.LeastAnswers}}},
	} {
		t.Run(name, func(t *testing.T) { windowsOfServices(t, c.memory, c.want) })
	}
}

// windowsOfServices checks the windows for one visitor after the other, who all
// stay.
func windowsOfServices(t *testing.T, memory int64, want []sizes) {
	got := make(chan sizes, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer testnet.Accept(ln, func(c net.Conn) {
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
	target.H2C, target.Memory = true, memory
	p := serveTarget(t, target)
	for i, want := range want {
		get(t, p.client(false))
		if s := <-got; s != want {
			t.Errorf("visitor %d: windows of %v, want %v", i, s, want)
		}
	}
}
