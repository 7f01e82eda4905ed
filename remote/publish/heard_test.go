package publish_test

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// A visitor over HTTP/2 that has sent much, and takes an answer as fast as it can, is
// heard meanwhile.
func TestVisitorThatTakesMuchIsHeard(t *testing.T) {
	target := handlerTarget(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPost {
			return
		}
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})
	v := newH2Visitor(t, serveTarget(t, target))
	v.headers(":method: POST\n:scheme: https\n:authority: $H\n:path: /", false)
	const frame, frames = 16 << 10, 63
	for i := range frames { // less than the least window that the first visitor has
		v.fr.WriteData(v.stream, i == frames-1, make([]byte, frame))
	}
	v.answer()
	v.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	v.fr.WriteWindowUpdate(0, 1<<30)
	v.headers(":method: GET\n:scheme: https\n:authority: $H\n:path: /", true)
	for round := range 20 {
		v.fr.WritePing(false, [8]byte{byte(round)})
		for taken := 0; ; {
			f, err := v.fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := f.(*http2.PingFrame); ok {
				break
			}
			if taken += int(f.Header().Length); taken > 32<<20 {
				t.Fatal("32 MiB come before a PING is answered")
			}
		}
	}
}
