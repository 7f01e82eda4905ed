package publish

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// passOn is what of a visitor's request reaches the service; "" if nothing does.
func passOn(t *testing.T, in *http.Request) string {
	const domain = "xyz.relay.test"
	in.RemoteAddr = "8.8.4.4:4711"
	if refusal(in, domain) != nil {
		return ""
	}
	dropUpgrade(in.Header)
	target := &Target{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:3000"}}
	in = in.WithContext(context.WithValue(t.Context(), exchangeKey{}, &exchange{route: &route{Route: Route{Path: "/"}}}))
	out := in.Clone(t.Context())
	target.rewrite(&httputil.ProxyRequest{In: in, Out: out})
	var raw bytes.Buffer
	if err := out.Write(&raw); err != nil {
		return ""
	}
	return raw.String()
}

// fromH2 is a request as net/http reads it from HTTP/2.
func fromH2(method, authority, path string) *http.Request {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil
	}
	return &http.Request{Method: method, URL: u, Host: authority, RequestURI: path, Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}}
}

var goodHead = regexp.MustCompile(`^([^ ]+) (/[^ #\x00-\x1f\x7f]*|\*) HTTP/1\.1\r\nHost: xyz\.relay\.test(:[0-9]{1,5})?\r\n`)

// Whatever a visitor sends, the service's request line has a path, or the
// asterisk of OPTIONS, and its Host is the name.
func FuzzTarget(f *testing.F) {
	for _, target := range []string{
		"/", "/a%2Fb|c", "//x|y", "/../", "/?", "*", "", "x:http://evil.test/admin", "x:*", "http:http://169.254.169.254/latest",
		"http://evil.test/", "http://xyz.relay.test/a", "HTTPS://xyz.relay.test?q", "http://u@xyz.relay.test/", "http://xyz.relay.test:80,evil.test/",
		"http://[xyz.relay.test]:80/", "http:/xyz.relay.test/", "http:///a", "ftp://xyz.relay.test/", "x://xyz.relay.test/", "evil.test:443", "//evil.test/", "/a HTTP/1.1\r\nHost: evil.test",
	} {
		for _, host := range []string{"xyz.relay.test", "XYZ.relay.test.:8443", "evil.test", "xyz.relay.test@evil.test", "[xyz.relay.test]:80", "xyz.relay.test:", "xyz.re\u212aay.test", ""} {
			for _, method := range []string{"GET", "OPTIONS", "CONNECT", "TRACE"} {
				f.Add(method, target, host)
			}
		}
	}
	f.Fuzz(func(t *testing.T, method, target, host string) {
		var requests []*http.Request
		raw := method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
		if r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw))); err == nil {
			requests = append(requests, r)
		}
		if r := fromH2(method, host, target); r != nil {
			requests = append(requests, r)
		}
		for _, in := range requests {
			sent := passOn(t, in)
			if sent == "" {
				continue
			}
			m := goodHead.FindStringSubmatch(sent)
			if m == nil || m[1] != in.Method || m[2] == "*" && m[1] != "OPTIONS" {
				t.Errorf("%q over HTTP/%d: the service gets %q", raw, in.ProtoMajor, sent)
			}
		}
	})
}
