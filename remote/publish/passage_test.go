package publish_test

import (
	"strings"
	"testing"

	"keystay/remote/publish"
)

// requests are what a visitor sends over HTTP/1.1, and what the service gets
// besides the fields that every request gets. An empty one says that it gets
// nothing, and the visitor the status.
var requests = []struct{ name, send, gets, status string }{
	// The target is passed on byte by byte.
	{"an escaped slash beside a bar", "GET /a%2Fb/x|y HTTP/1.1\nHost: $H\n\n", "GET /a%2Fb/x|y HTTP/1.1\nHost: $H\n\n", ""},
	{"raw bytes", "GET /é/{id}^`\\\"<>|;[a]%2f%7e'(!*)?é|{}^\"\\%zz;a&b HTTP/1.1\nHost: $H\n\n", "GET /é/{id}^`\\\"<>|;[a]%2f%7e'(!*)?é|{}^\"\\%zz;a&b HTTP/1.1\nHost: $H\n\n", ""},
	{"two slashes", "GET //x/..//./y/ HTTP/1.1\nHost: $H\n\n", "GET //x/..//./y/ HTTP/1.1\nHost: $H\n\n", ""},
	{"two slashes and others", "GET //x%2F|y HTTP/1.1\nHost: $H\n\n", "GET //x%2F%7Cy HTTP/1.1\nHost: $H\n\n", ""},
	{"an empty query", "GET /a? HTTP/1.1\nHost: $H\n\n", "GET /a? HTTP/1.1\nHost: $H\n\n", ""},
	{"question marks", "GET /?a?b? HTTP/1.1\nHost: $H\n\n", "GET /?a?b? HTTP/1.1\nHost: $H\n\n", ""},
	{"a bad escape in a path", "GET /%zz HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"a number sign", "GET /a#b HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"absolute-form", "GET http://$H/a%2Fb|?q HTTP/1.1\nHost: evil.test\n\n", "GET /a%2Fb|?q HTTP/1.1\nHost: $H\n\n", ""},
	{"absolute-form without a path", "GET HTTPS://$H?q HTTP/1.1\nHost: $H\n\n", "GET /?q HTTP/1.1\nHost: $H\n\n", ""},
	{"OPTIONS *", "OPTIONS * HTTP/1.1\nHost: $H\n\n", "OPTIONS * HTTP/1.1\nHost: $H\n\n", ""},
	{"GET *", "GET * HTTP/1.1\nHost: $H\n\n", "", "400"},

	// No target and no authority chooses another host.
	{"opaque", "GET x:http://evil.test/admin HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"opaque with the name", "GET http:http://$H/ HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"opaque asterisk", "OPTIONS x:* HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"a scheme without an authority", "GET http:/a HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"another scheme", "GET ftp://$H/ HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"absolute-form of another host", "GET http://evil.test/ HTTP/1.1\nHost: $H\n\n", "", "421"},
	{"absolute-form with a user", "GET http://u@$H/ HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"an empty authority", "GET http:///a HTTP/1.1\nHost: $H\n\n", "", "400"},
	{"CONNECT", "CONNECT $H:443 HTTP/1.1\nHost: $H:443\n\n", "", "405"},
	{"CONNECT elsewhere", "CONNECT evil.test:443 HTTP/1.1\nHost: evil.test:443\n\n", "", "421"},
	{"TRACE", "TRACE / HTTP/1.1\nHost: $H\n\n", "", "405"},
	{"TRACE in another case", "Trace / HTTP/1.1\nHost: $H\n\n", "", "405"},
	{"CONNECT in another case", "connect / HTTP/1.1\nHost: $H\n\n", "", "405"},
	{"another Host", "GET / HTTP/1.1\nHost: evil.test\n\n", "", "421"},
	{"a Host in brackets", "GET / HTTP/1.1\nHost: [$H]:80\n\n", "", "421"},
	{"a Host with a user", "GET / HTTP/1.1\nHost: $H@evil.test\n\n", "", "400"},
	{"a Host with a strange port", "GET / HTTP/1.1\nHost: $H:80,evil.test\n\n", "", "421"},
	{"a Host with two dots", "GET / HTTP/1.1\nHost: $H..\n\n", "", "421"},
	{"two Hosts", "GET / HTTP/1.1\nHost: $H\nHost: $H\n\n", "", "400"},
	{"the name in another spelling", "GET / HTTP/1.1\nHost: XYZ.Relay.Test.\n\n", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"no Host", "GET / HTTP/1.0\n\n", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"an empty Host", "GET / HTTP/1.1\nHost:\n\n", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\n\nSM\n\n", "", "505"},

	// Fields keep their spelling, and nothing is added.
	{"spelling", "GET / HTTP/1.1\nHost: $H\nX-API-KEY: 1\netag: 2\nuser-agent: me\nSec-WebSocket-Key: k\nx-odd-CASE: a\nX-Odd-Case: b\nACCEPT: */*\nCookie: a=b\nCookie: c=d\n\n",
		"GET / HTTP/1.1\nHost: $H\nX-API-KEY: 1\netag: 2\nuser-agent: me\nSec-WebSocket-Key: k\nx-odd-CASE: a\nx-odd-CASE: b\nACCEPT: */*\nCookie: a=b\nCookie: c=d\n\n", ""},
	{"a front's voice", "GET / HTTP/1.1\nHost: $H\nX-Forwarded-For: 1.2.3.4\nx_forwarded_for: 1.2.3.4\nTrue-Client-IP: 1.2.3.4\nRemote-User: root\nX-Original-URL: /admin\nProxy: http://evil.test\nX-Mine: 1\n\n",
		"GET / HTTP/1.1\nHost: $H\nX-Mine: 1\n\n", ""},
	{"Pragma alone", "GET / HTTP/1.1\nHost: $H\npragma: no-cache\n\n", "GET / HTTP/1.1\nHost: $H\npragma: no-cache\n\n", ""},
	{"Pragma beside Cache-Control", "GET / HTTP/1.1\nHost: $H\nCache-Control: no-cache\nPragma: no-cache\n\n", "GET / HTTP/1.1\nHost: $H\nCache-Control: no-cache\nPragma: no-cache\n\n", ""},
	{"hop by hop", "GET / HTTP/1.1\nHost: $H\nConnection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nProxy-Authorization: x\nTE: gzip\nX-Mine: 1\n\n",
		"GET / HTTP/1.1\nHost: $H\nX-Mine: 1\n\n", ""},
	{"HTTP/2 by upgrade", "GET / HTTP/1.1\nHost: $H\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\n", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"TE", "GET / HTTP/1.1\nHost: $H\nte: gzip, trailers\n\n", "GET / HTTP/1.1\nHost: $H\nTE: trailers\n\n", ""},
	{"an upgrade in HTTP/1.0", "GET / HTTP/1.0\nHost: $H\nConnection: Upgrade\nUpgrade: websocket\nX-Mine: 1\n\n", "GET / HTTP/1.1\nHost: $H\nX-Mine: 1\n\n", ""},
	{"an empty line before", "\nGET / HTTP/1.1\nHost: $H\n\n", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"two empty lines before", "\n\nGET / HTTP/1.1\nHost: $H\n\n", "", "400"},

	// Bodies, with what says their length. No request follows them.
	{"a length", "POST / HTTP/1.1\nHost: $H\nContent-Length: 5\n\nhello", "POST / HTTP/1.1\nHost: $H\nConnection: close\nContent-Length: 5\n\nhello", ""},
	{"a length of nothing", "DELETE / HTTP/1.1\nHost: $H\nContent-Length: 0\n\n", "DELETE / HTTP/1.1\nHost: $H\nContent-Length: 0\n\n", ""},
	{"no body", "DELETE / HTTP/1.1\nHost: $H\n\n", "DELETE / HTTP/1.1\nHost: $H\n\n", ""},
	{"chunks", "PUT / HTTP/1.1\nHost: $H\ntransfer-encoding: chunked\n\n5;x=y\nhello\n0\n\n", "PUT / HTTP/1.1\nHost: $H\nConnection: close\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", ""},
	{"trailers", "PUT / HTTP/1.1\nHost: $H\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\nX-Sum: 1\n\n",
		"PUT / HTTP/1.1\nHost: $H\nConnection: close\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\nX-Sum: 1\n\n", ""},
	{"trailers that were not announced", "PUT / HTTP/1.1\nHost: $H\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\nX-Real-IP: 1.2.3.4\nContent-Length: 3\nAuthorization: x\n\n",
		"PUT / HTTP/1.1\nHost: $H\nConnection: close\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\n\n", ""},
	{"chunks in HTTP/1.0", "POST / HTTP/1.0\nHost: $H\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", "", "400"},
	{"a name with a space", "GET / HTTP/1.1\nHost: $H\nX Y: 1\n\n", "", "400"},
}

// expect checks that the service gets a request, and answers it with 204; answered
// is what the visitor then gets.
func (e *rawEnd) expect(t *testing.T, name, want string, answered <-chan string) {
	t.Helper()
	_, body, _ := strings.Cut(want, "\r\n\r\n")
	select {
	case e.steps <- rawStep{until: "\r\n\r\n" + body, answer: "HTTP/1.1 204 No Content\r\n\r\n"}:
		if got := withoutForwarded(<-e.got, domain); sorted(got) != sorted(want) {
			t.Errorf("%s: the service gets\n%q, want\n%q", name, sorted(got), sorted(want))
		}
		<-answered
	case got := <-answered:
		t.Errorf("%s: the service gets nothing, and the visitor %q", name, got)
	}
}

// Each request reaches the service as the table says.
func TestRequestsArriveAsTheTableSays(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			target, service := rawTarget(t, kind)
			p := serveTarget(t, target)
			for _, row := range requests {
				c := p.visitor("http/1.1")
				want := crlf(row.gets)
				if want == "" {
					if got := say(t, c, crlf(row.send), len("HTTP/1.1 400")); got[min(9, len(got)):] != row.status {
						t.Errorf("%s: the visitor gets %q, want %s", row.name, got, row.status)
					}
					c.Close()
					continue
				}
				answered := make(chan string, 1)
				go func() { answered <- say(t, c, crlf(row.send), len("HTTP/1.1 204 No Content\r\n")) }()
				service.expect(t, row.name, want, answered)
				c.Close()
			}
		})
	}
}

// when is a Date, which net/http would add: a gateway must (RFC 9110, section
// 6.6.1).
const when = "Date: Sat, 01 Aug 2026 00:00:00 GMT\n"

// answers are what the service sends to a request with a method, GET if it is
// empty, and what the visitor gets over HTTP/1.1 and over HTTP/2, there as
// h2Visitor.answer tells it.
var answers = []struct{ name, method, send, gets, h2 string }{
	{"a small answer", "", "HTTP/1.1 200 OK\n" + when + "Content-Type: text/plain\nContent-Length: 5\n\nhello",
		"HTTP/1.1 200 OK\n" + when + "Content-Type: text/plain\nContent-Length: 5\n\nhello",
		":status: 200\ncontent-length: 5\ncontent-type: text/plain\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nDATA hello\nEND\n"},
	{"no Content-Type", "", "HTTP/1.1 200 OK\n" + when + "Content-Length: 6\n\n<html>",
		"HTTP/1.1 200 OK\n" + when + "Content-Length: 6\n\n<html>",
		":status: 200\ncontent-length: 6\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nDATA <html>\nEND\n"},
	{"chunks", "", "HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n5\nhello\n0\n\n",
		"HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n5\nhello\n0\n\n",
		":status: 200\ncontent-length: 5\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nDATA hello\nEND\n"},
	{"no body in chunks", "", "HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n0\n\n",
		"HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n0\n\n",
		":status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"spelling", "", "HTTP/1.1 401 Unauthorized\n" + when + "ETag: 1\nWWW-Authenticate: A\nWWW-Authenticate: B\nx-odd-CASE: 1\ncontent-type: a/b\nset-cookie: b=1\nset-cookie: a=2\ncontent-length: 0\n\n",
		"HTTP/1.1 401 Unauthorized\n" + when + "ETag: 1\nWWW-Authenticate: A\nWWW-Authenticate: B\nx-odd-CASE: 1\ncontent-type: a/b\nset-cookie: b=1\nset-cookie: a=2\nContent-Length: 0\n\n",
		":status: 401\ncontent-length: 0\ncontent-type: a/b\ndate: Sat, 01 Aug 2026 00:00:00 GMT\netag: 1\nset-cookie: b=1\nset-cookie: a=2\nwww-authenticate: A\nwww-authenticate: B\nx-odd-case: 1\nEND\n"},
	{"a reason of its own", "", "HTTP/1.1 299 Odd, isn't it\n" + when + "Content-Length: 0\n\n", "HTTP/1.1 299 Odd, isn't it\n" + when + "Content-Length: 0\n\n",
		":status: 299\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"an empty reason", "", "HTTP/1.1 200 \n" + when + "Content-Length: 0\n\n", "HTTP/1.1 200 \n" + when + "Content-Length: 0\n\n",
		":status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"Pragma alone", "", "HTTP/1.1 200 OK\n" + when + "Pragma: no-cache\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\n" + when + "Pragma: no-cache\nContent-Length: 0\n\n",
		":status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\npragma: no-cache\nEND\n"},
	{"Pragma beside Cache-Control", "", "HTTP/1.1 200 OK\n" + when + "pragma: no-cache\ncache-control: no-cache\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\n" + when + "pragma: no-cache\ncache-control: no-cache\nContent-Length: 0\n\n",
		":status: 200\ncache-control: no-cache\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\npragma: no-cache\nEND\n"},
	{"hop by hop", "", "HTTP/1.1 200 OK\n" + when + "Connection: X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\n" + when + "Content-Length: 0\n\n",
		":status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"HEAD", "HEAD", "HTTP/1.1 200 OK\n" + when + "Content-Type: text/plain\nContent-Length: 5\n\n", "HTTP/1.1 200 OK\n" + when + "Content-Type: text/plain\nContent-Length: 5\n\n",
		":status: 200\ncontent-length: 5\ncontent-type: text/plain\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"HEAD without a length", "HEAD", "HTTP/1.1 200 OK\n" + when + "\n", "HTTP/1.1 200 OK\n" + when + "\n",
		":status: 200\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"204", "", "HTTP/1.1 204 No Content\n" + when + "X: 1\n\n", "HTTP/1.1 204 No Content\n" + when + "X: 1\n\n",
		":status: 204\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nx: 1\nEND\n"},
	{"304", "", "HTTP/1.1 304 Not Modified\n" + when + "ETag: 1\nContent-Type: a/b\nContent-Length: 5\n\n", "HTTP/1.1 304 Not Modified\n" + when + "ETag: 1\nContent-Type: a/b\nContent-Length: 5\n\n",
		":status: 304\ncontent-length: 5\ncontent-type: a/b\ndate: Sat, 01 Aug 2026 00:00:00 GMT\netag: 1\nEND\n"},
	{"early hints", "", "HTTP/1.1 103 Early Hints\nlink: <a>\n\nHTTP/1.1 200 OK\n" + when + "Content-Length: 0\n\n", "HTTP/1.1 103 Early Hints\nlink: <a>\n\nHTTP/1.1 200 OK\nContent-Length: 0\n" + when + "\n",
		":status: 103\nlink: <a>\n:status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"hop by hop in early hints", "", "HTTP/1.1 103 Early Hints\nConnection: keep-alive, X-Hop\nX-Hop: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: x\nTransfer-Encoding: chunked\nUpgrade: h2c\nlink: <a>\n\nHTTP/1.1 200 OK\n" + when + "Content-Length: 0\n\n", "HTTP/1.1 103 Early Hints\nlink: <a>\n\nHTTP/1.1 200 OK\nContent-Length: 0\n" + when + "\n",
		":status: 103\nlink: <a>\n:status: 200\ncontent-length: 0\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nEND\n"},
	{"trailers", "", "HTTP/1.1 200 OK\n" + when + "Trailer: X-Sum\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\n\n",
		"HTTP/1.1 200 OK\n" + when + "Trailer: X-Sum\nTransfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\n\n",
		":status: 200\ndate: Sat, 01 Aug 2026 00:00:00 GMT\ntrailer: X-Sum\nDATA hello\nx-sum: 1\nEND\n"},
	{"trailers that were not announced", "", "HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\nContent-Length: 3\nSet-Cookie: a=b\n\n",
		"HTTP/1.1 200 OK\n" + when + "Transfer-Encoding: chunked\n\n5\nhello\n0\nX-Sum: 1\n\n",
		":status: 200\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nDATA hello\nx-sum: 1\nEND\n"},
	// The last: net/http may take what is too much of it for the answer to the next request.
	{"204 with a length", "", "HTTP/1.1 204 No Content\n" + when + "X: 1\nContent-Length: 5\n\nhello", "HTTP/1.1 204 No Content\n" + when + "X: 1\n\n",
		":status: 204\ndate: Sat, 01 Aug 2026 00:00:00 GMT\nx: 1\nEND\n"},
}

// Each answer reaches the visitor as the table says, over HTTP/1.1 and HTTP/2.
func TestAnswersArriveAsTheTableSays(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			target, service := rawTarget(t, kind)
			answersArrive(t, serveTarget(t, target), service)
		})
	}
}

// So it does behind a route among others.
func TestAnswersBehindARouteArriveAsTheTableSays(t *testing.T) {
	target, service := rawTarget(t, "http")
	p, _ := serveSite(t, publish.Route{Path: "/", Strip: true, Target: target}, publish.Route{Path: "/text", Handler: publish.Text("x")})
	answersArrive(t, p, service)
}

// answersArrive lets a service give each answer of the table to visitors.
func answersArrive(t *testing.T, p *published, service *rawEnd) {
	old, h2 := p.visitor("http/1.1"), newH2Visitor(t, p)
	for _, row := range answers {
		method := row.method
		if method == "" {
			method = "GET"
		}
		step := rawStep{until: "\r\n\r\n", answer: crlf(row.send)}
		got := make(chan string, 1)
		go func() { got <- say(t, old, crlf(method+" / HTTP/1.1\nHost: $H\n\n"), len(crlf(row.gets))) }()
		service.steps <- step
		<-service.got
		if got, want := sorted(<-got), sorted(crlf(row.gets)); got != want {
			t.Errorf("%s: the visitor gets\n%q, want\n%q", row.name, got, want)
		}
		h2.headers(":method: "+method+"\n:scheme: https\n:authority: $H\n:path: /", true)
		service.steps <- step
		<-service.got
		if got := h2.answer(); got != row.h2 {
			t.Errorf("%s: over HTTP/2 the visitor gets\n%q, want\n%q", row.name, got, row.h2)
		}
	}
}

// requestsH2 is requests for HTTP/2: fields and body, and what the service gets.
var requestsH2 = []struct{ name, send, body, trailers, gets, status string }{
	{"a path", ":method: GET\n:scheme: https\n:authority: $H\n:path: /a%2Fb/x|y?é\nx-api-key: 1\nsec-websocket-key: k\ncookie: a=b\ncookie: c=d", "", "",
		"GET /a%2Fb/x|y?é HTTP/1.1\nHost: $H\nX-API-Key: 1\nSec-WebSocket-Key: k\nCookie: a=b; c=d\n\n", ""},
	{"a front's voice", ":method: GET\n:scheme: https\n:authority: $H\n:path: /\nx-real-ip: 1.2.3.4\nx_real_ip: 1.2.3.4\ncf-connecting-ip: 1.2.3.4\nx-mine: 1", "", "",
		"GET / HTTP/1.1\nHost: $H\nX-Mine: 1\n\n", ""},
	{"no :authority", ":method: GET\n:scheme: https\n:path: /\nhost: $H", "", "", "GET / HTTP/1.1\nHost: $H\n\n", ""},
	{"OPTIONS *", ":method: OPTIONS\n:scheme: https\n:authority: $H\n:path: *", "", "", "OPTIONS * HTTP/1.1\nHost: $H\n\n", ""},
	{"a length", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: 5", "hello", "", "POST / HTTP/1.1\nHost: $H\nConnection: close\nContent-Length: 5\n\nhello", ""},
	{"no length", ":method: POST\n:scheme: https\n:authority: $H\n:path: /", "hello", "", "POST / HTTP/1.1\nHost: $H\nConnection: close\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", ""},
	{"trailers", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ntrailer: x-sum, x-real-ip", "hello", "x-sum: 1\nx-real-ip: 1.2.3.4",
		"POST / HTTP/1.1\nHost: $H\nConnection: close\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n5\nhello\n0\nX-Sum: 1\n\n", ""},

	{"a length of nothing", ":method: DELETE\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: 0", "", "", "DELETE / HTTP/1.1\nHost: $H\nContent-Length: 0\n\n", ""},
	{"a length without a body", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: 5", "", "", "", "400"},
	{"a length that is none", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: abc", "", "", "", "400"},
	{"two lengths", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: 5\ncontent-length: 6", "hello", "", "", "400"},
	{"more than the length", ":method: POST\n:scheme: https\n:authority: $H\n:path: /\ncontent-length: 0", "hello", "", "", reset},

	{"opaque", ":method: GET\n:scheme: https\n:authority: $H\n:path: x:http://evil.test/a HTTP/1.1 ", "", "", "", reset},
	{"absolute-form", ":method: GET\n:scheme: https\n:authority: $H\n:path: http://$H/", "", "", "", reset},
	{"a space", ":method: GET\n:scheme: https\n:authority: $H\n:path: /?a HTTP/0.9 x", "", "", "", "400"},
	{"a space in the path", ":method: GET\n:scheme: https\n:authority: $H\n:path: /a b", "", "", "", "400"},
	{"GET *", ":method: GET\n:scheme: https\n:authority: $H\n:path: *", "", "", "", "400"},
	{"a method with a space", ":method: GET /a\n:scheme: https\n:authority: $H\n:path: /", "", "", "", "400"},
	{"another host", ":method: GET\n:scheme: https\n:authority: evil.test\n:path: /", "", "", "", "421"},
	{"another host beside", ":method: GET\n:scheme: https\n:authority: $H\n:path: /\nhost: evil.test", "", "", "", reset},
	{"CONNECT", ":method: CONNECT\n:authority: $H:443", "", "", "", "405"},
	{"TRACE", ":method: TRACE\n:scheme: https\n:authority: $H\n:path: /", "", "", "", "405"},
	{"CONNECT in another case", ":method: connect\n:scheme: https\n:authority: $H\n:path: /", "", "", "", "405"},
}

// reset is the answer to a request over HTTP/2 that is malformed (RFC 9113, section
// 8.1.1).
const reset = "RST\n"

// Each request over HTTP/2 reaches the service as the table says.
func TestRequestsArriveFromHTTP2(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			target, service := rawTarget(t, kind)
			v := newH2Visitor(t, serveTarget(t, target))
			for _, row := range requestsH2 {
				v.headers(row.send, row.body == "")
				if row.body != "" {
					v.fr.WriteData(v.stream, row.trailers == "", []byte(row.body))
				}
				if row.trailers != "" {
					v.headers(row.trailers, true)
				}
				answered := make(chan string, 1)
				go func() { answered <- v.answer() }()
				want := crlf(row.gets)
				if want == "" {
					if got := <-answered; got != row.status && !strings.HasPrefix(got, ":status: "+row.status+"\n") {
						t.Errorf("%s: the visitor gets %q, want %s", row.name, got, row.status)
					}
					continue
				}
				service.expect(t, row.name, want, answered)
			}
		})
	}
}

// Where the service is to see a Host of its own, what names the visitor's host
// names the service's instead, and the service's Location leads back.
func TestHostHeaderOnTheWire(t *testing.T) {
	for _, kind := range kinds {
		target, service := rawTarget(t, kind)
		target.HostHeader = "localhost:5173"
		c := serveTarget(t, target).visitor("http/1.1")
		own := target.URL.Scheme + "://localhost:5173"
		answer := "HTTP/1.1 302 Found\n" + when + "Content-Length: 0\nLocation: " + own + "/login\n\n"
		want := "HTTP/1.1 302 Found\n" + when + "Content-Length: 0\nLocation: https://$H:8443/login\n\n"
		got := make(chan string, 1)
		go func() {
			got <- say(t, c, crlf("GET / HTTP/1.1\nHost: $H:8443\nOrigin: https://$H:8443\nReferer: https://$H:8443/a\nDestination: https://$H:8443/b\n\n"), len(crlf(want)))
		}()
		service.steps <- rawStep{until: "\r\n\r\n", answer: crlf(answer)}
		request := crlf("GET / HTTP/1.1\nDestination: " + own + "/b\nHost: localhost:5173\nOrigin: " + own + "\nReferer: " + own + "/a\n\n")
		if raw := sorted(withoutForwarded(<-service.got, domain+":8443")); raw != request {
			t.Errorf("%s: the service gets\n%q, want\n%q", kind, raw, request)
		}
		if raw := <-got; sorted(raw) != sorted(crlf(want)) {
			t.Errorf("%s: the visitor gets\n%q, want\n%q", kind, raw, crlf(want))
		}
	}
}
