package publish_test

import (
	"bytes"
	"io"
	"log"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var quiet = log.New(io.Discard, "", 0)

// serveRawH2 reads the preface and frames of an HTTP/2 client, and calls headers
// for each request, until that says no.
func serveRawH2(c net.Conn, headers func(*http2.Framer, *http2.HeadersFrame) bool) {
	serveFrames(c, func(fr *http2.Framer, f http2.Frame) bool {
		h, ok := f.(*http2.HeadersFrame)
		return !ok || headers(fr, h)
	})
}

// serveFrames is serveRawH2 for all frames.
func serveFrames(c net.Conn, frame func(*http2.Framer, http2.Frame) bool) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				fr.WritePing(true, f.Data)
			}
		default:
			if !frame(fr, f) {
				return
			}
		}
	}
}

// h2Answer writes an answer with a body.
func h2Answer(fr *http2.Framer, stream uint32, status, body string) {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	enc.WriteField(hpack.HeaderField{Name: ":status", Value: status})
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		fr.WriteData(stream, true, []byte(body))
	}
}
