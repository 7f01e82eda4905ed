package browser

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxAnswer is how much of an answer is read, in bytes: frames of HTTP/2, or head and body
// of HTTP/1.1.
const maxAnswer = 144 << 10

// fields are what the browser sends with a request for a page whose address was typed in,
// or what a program does.
func fields(shape Shape) [][2]string {
	if shape == Program {
		return [][2]string{{"user-agent", "Go-http-client/2.0"}, {"accept-encoding", "gzip"}}
	}
	if shape == Firefox {
		return [][2]string{
			{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"},
			{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
			{"accept-language", "en-US,en;q=0.9"}, {"accept-encoding", "gzip, deflate, br, zstd"},
			{"upgrade-insecure-requests", "1"}, {"sec-fetch-dest", "document"}, {"sec-fetch-mode", "navigate"},
			{"sec-fetch-site", "none"}, {"sec-fetch-user", "?1"}, {"priority", "u=0, i"}, {"te", "trailers"},
		}
	}
	return [][2]string{
		{"sec-ch-ua", `"Chromium";v="156", "Not)A;Brand";v="24"`}, {"sec-ch-ua-mobile", "?0"}, {"sec-ch-ua-platform", `"Linux"`},
		{"upgrade-insecure-requests", "1"},
		{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		{"accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"},
		{"sec-fetch-site", "none"}, {"sec-fetch-mode", "navigate"}, {"sec-fetch-user", "?1"}, {"sec-fetch-dest", "document"},
		{"accept-encoding", "gzip, deflate, br, zstd"}, {"accept-language", "en-US,en;q=0.9"}, {"priority", "u=0, i"},
	}
}

// Get asks host for path, as the browser asks for a page, and returns the status and the
// body as it came: it may be in a coding. Headers of the answer are not looked at. Deadlines
// are the caller's. Nothing else may be asked on the connection.
func (c *Conn) Get(host, path string) (status int, body []byte, err error) {
	return c.do(http.MethodGet, host, path, nil)
}

// Post is Get with a body of JSON, of 16 KiB at most.
func (c *Conn) Post(host, path string, question []byte) (status int, body []byte, err error) {
	return c.do(http.MethodPost, host, path, question)
}

func (c *Conn) do(method, host, path string, question []byte) (status int, body []byte, err error) {
	if c.Protocol() == "h2" {
		return c.do2(method, host, path, question)
	}
	var send io.Reader
	if question != nil {
		send = bytes.NewReader(question)
	}
	req, err := http.NewRequest(method, "https://"+host+path, send)
	if err != nil {
		return 0, nil, err
	}
	for _, f := range fields(c.shape) {
		req.Header.Set(f[0], f[1])
	}
	if question != nil {
		req.Header.Set("content-type", "application/json")
	}
	if err := req.Write(c); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxAnswer)), req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// do2 is do over HTTP/2 (RFC 9113). A browser's preface, settings and first request go
// out together.
func (c *Conn) do2(method, host, path string, question []byte) (status int, body []byte, err error) {
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	settings, window := []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 65536}, {ID: http2.SettingEnablePush, Val: 0},
		{ID: http2.SettingInitialWindowSize, Val: 6291456}, {ID: http2.SettingMaxHeaderListSize, Val: 262144}}, uint32(15663105)
	if c.shape == Firefox {
		settings, window = []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 65536}, {ID: http2.SettingEnablePush, Val: 0},
			{ID: http2.SettingInitialWindowSize, Val: 131072}, {ID: http2.SettingMaxFrameSize, Val: 16384}}, uint32(12517377)
	}
	f := http2.NewFramer(&out, io.LimitReader(c, maxAnswer))
	f.ReadMetaHeaders = hpack.NewDecoder(65536, nil)
	f.MaxHeaderListSize = 16 << 10
	_ = f.WriteSettings(settings...) // these write to memory
	_ = f.WriteWindowUpdate(0, window)
	var head bytes.Buffer
	e := hpack.NewEncoder(&head)
	list := append([][2]string{{":method", method}, {":authority", host}, {":scheme", "https"}, {":path", path}}, fields(c.shape)...)
	if question != nil {
		list = append(list, [2]string{"content-type", "application/json"}, [2]string{"content-length", strconv.Itoa(len(question))})
	}
	for _, h := range list {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndStream: question == nil, EndHeaders: true})
	if question != nil { // it fits into the first window
		_ = f.WriteData(1, true, question)
	}
	if _, err := c.Write(out.Bytes()); err != nil {
		return 0, nil, err
	}
	return c.readHTTP2(f, &out)
}

// readHTTP2 reads the answer to the one request that f has written. The frames that f
// writes go to out.
func (c *Conn) readHTTP2(f *http2.Framer, out *bytes.Buffer) (status int, body []byte, err error) {
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return status, body, err
		}
		out.Reset()
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if frame.IsAck() {
				continue
			}
			_ = f.WriteSettingsAck()
			if _, err := c.Write(out.Bytes()); err != nil {
				return status, body, err
			}
		case *http2.MetaHeadersFrame:
			if _, err := fmt.Sscanf(frame.PseudoValue("status"), "%d", &status); err != nil {
				return 0, nil, fmt.Errorf("the answer has no status: %w", err)
			}
			if frame.StreamEnded() {
				return status, body, nil
			}
		case *http2.DataFrame:
			body = append(body, frame.Data()...)
			if frame.StreamEnded() {
				return status, body, nil
			}
		case *http2.RSTStreamFrame:
			return status, body, fmt.Errorf("the stream is reset: %v", frame.ErrCode)
		case *http2.GoAwayFrame:
			return status, body, fmt.Errorf("the connection is given up: %v", frame.ErrCode)
		}
	}
}
