package publish_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"keystay/remote/publish"
)

// A visitor's answer that has come over HTTP/2, as its frames tell.
type h2Heard struct {
	status string
	ended  bool
	resets []http2.ErrCode
}

// askRawH2 sends a POST over HTTP/2 with a body behind the head, and hears frames
// until a PING behind the body is answered and the answer has ended. Without a body
// the request does not end.
func askRawH2(t *testing.T, c *tls.Conn, path, body string) (heard h2Heard) {
	t.Helper()
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.WriteSettings()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", domain}, {":path", path}} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b.Bytes(), EndHeaders: true})
	ping := byte(0)
	fr.WritePing(false, [8]byte{ping})
	for pinged := false; !pinged || !heard.ended; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("after %+v: %v", heard, err)
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			heard.status, heard.ended = f.PseudoValue("status"), f.StreamEnded()
		case *http2.DataFrame:
			heard.ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			heard.resets = append(heard.resets, f.ErrCode)
		case *http2.PingFrame:
			if ping++; ping > 2 || body == "" {
				pinged = true
				continue
			}
			if ping == 1 { // the head has been heard: it may be answered now
				for rest := body; rest != ""; {
					n := min(len(rest), 1<<14)
					fr.WriteData(1, n == len(rest), []byte(rest[:n]))
					rest = rest[n:]
				}
			}
			fr.WritePing(false, [8]byte{ping})
		}
	}
	return heard
}

// An answer that does not depend on the body arrives whole whatever body there is:
// over HTTP/2 without a RST_STREAM, and over HTTP/1.1 on a connection that stays.
func TestAnswerToAnUnreadBodyArrives(t *testing.T) {
	to, _ := url.Parse("https://example.com")
	refuse := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	}
	for _, row := range []struct {
		name, path, status string
		handler            http.Handler
		gate               func(http.Handler) http.Handler
	}{
		{"a text", "/", "405", publish.Text("hello"), nil},
		{"a redirect", "/", "307", publish.Redirect(to), nil},
		{"a page", "/", "404", http.NotFoundHandler(), nil},
		{"no route", "/other", "404", publish.Text("hello"), nil},
		{"no path", "*", "400", publish.Text("hello"), nil},
		{"a gate", "/", "403", publish.Text("hello"), refuse},
		{"nothing", "/", "200", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			route := publish.Route{Path: "/", Handler: row.handler}
			if row.path == "/other" {
				route.Path = "/here"
			}
			site := publish.NewSite(domain, publish.SiteConfig{Routes: []publish.Route{route}, Gate: row.gate})
			p := serve(t, site.Server())
			for _, size := range []int{1, 60_000} {
				got := askRawH2(t, p.visitor("h2"), row.path, strings.Repeat("x", size))
				if got.status != row.status || len(got.resets) > 0 {
					t.Errorf("HTTP/2, %d bytes: %+v, want %s", size, got, row.status)
				}
			}
			body := strings.Repeat("x", 1_000_000)
			resp := p.raw(fmt.Sprintf("POST %s HTTP/1.1\nHost: %s\nContent-Length: %d\n\n%s", row.path, domain, len(body), body))
			if resp.Status[:3] != row.status || resp.Close {
				t.Errorf("HTTP/1.1: %s, and the connection ends: %v", resp.Status, resp.Close)
			}
		})
	}
}

// A visitor that does not send its body gets its answer all the same.
func TestAnswerDoesNotWaitForABodyThatDoesNotCome(t *testing.T) {
	p, _ := serveSite(t, publish.Route{Path: "/", Handler: publish.Text("hello")})
	got := askRawH2(t, p.visitor("h2"), "/", "")
	for _, code := range got.resets {
		if code != http2.ErrCodeNo {
			t.Errorf("a reset with %v", code)
		}
	}
	if got.status != "405" {
		t.Errorf("%+v", got)
	}
	resp := p.raw("POST / HTTP/1.1\nHost: " + domain + "\nContent-Length: 100\n\n")
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Error(resp.Status)
	}
}
