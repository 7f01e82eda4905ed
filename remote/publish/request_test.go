package publish_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// raw sends a request by hand, over HTTP/1.1.
func (p *published) raw(request string) *http.Response {
	p.t.Helper()
	c := p.visitor("http/1.1")
	p.t.Cleanup(func() { c.Close() })
	io.WriteString(c, strings.ReplaceAll(request, "\n", "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp
}

// What the local service would take for its own, or for the word of a proxy,
// does not get through.
func TestHostileFieldsDoNotGetThrough(t *testing.T) {
	got := make(chan *http.Request, 1)
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r
	})
	for name, request := range map[string]string{
		"no Host":    "GET / HTTP/1.0\n\n",
		"empty Host": "GET / HTTP/1.1\nHost:\n\n",
	} {
		p.raw(request)
		if r := <-got; r.Host != domain || r.Header.Get("X-Forwarded-Host") != domain {
			t.Errorf("%s: the service saw %q, %q", name, r.Host, r.Header.Get("X-Forwarded-Host"))
		}
	}
	if resp := p.raw("GET / HTTP/1.1\nHost: " + domain + ":80,evil.test\n\n"); resp.StatusCode != 421 {
		t.Errorf("a Host with a strange port: %s", resp.Status)
	}

	p.raw("POST / HTTP/1.1\nHost: " + domain + "\nX_Forwarded_For: 192.0.2.66\nx_real-ip: 192.0.2.66\nTransfer-Encoding: chunked\nTrailer: X-Forwarded-For\n\n" +
		"0\nX-Forwarded-For: 192.0.2.66\nForwarded: for=192.0.2.66\nX_Real_Ip: 192.0.2.66\n\n")
	r := <-got
	if all := fmt.Sprint(r.Header, r.Trailer); strings.Contains(all, "192.0.2.66") {
		t.Errorf("a forged address got through: %s", all)
	}

	for _, token := range []string{"h2c", "H2C", "h2", "\xff"} {
		p.raw("GET / HTTP/1.1\nHost: " + domain + "\nConnection: Upgrade, HTTP2-Settings\nUpgrade: " + token + "\nHTTP2-Settings: AAMAAABk\n\n")
		if r := <-got; r.Header.Get("Upgrade") != "" || r.Header.Get("HTTP2-Settings") != "" {
			t.Errorf("upgrade to %q got through: %v", token, r.Header)
		}
	}

	req := &http.Request{Method: "GET", Host: domain, URL: &url.URL{Scheme: "https", Host: domain, Path: "/", RawQuery: "a HTTP/0.9 x"}}
	resp, err := p.client(true).Do(req)
	if err == nil {
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("a space in the query: %s", resp.Status)
		}
	}
	select {
	case r := <-got:
		t.Errorf("the service saw %q", r.RequestURI)
	default:
	}
}
