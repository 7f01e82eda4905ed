package publish_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/publish"
)

// hasty is a service that answers each request by its head alone, with the answer, and takes in
// the rest of what comes. It tells the targets that it is asked for. With a config it speaks TLS.
func hasty(t *testing.T, config *tls.Config, answer string) (addr net.Addr, asked <-chan string) {
	targets := make(chan string, 100)
	return testnet.Serve(t, func(c net.Conn) {
		if config != nil {
			c = tls.Server(c, config)
			defer c.Close()
		}
		in := bufio.NewReader(c)
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		targets <- r.RequestURI
		io.WriteString(c, "HTTP/1.1 "+answer)
		c.(interface{ CloseWrite() error }).CloseWrite()
		io.Copy(io.Discard, in)
	}), targets
}

// hasty2 is the same over HTTP/2, with an answer that its head ends.
func hasty2(t *testing.T, status int) (addr net.Addr, asked <-chan string) {
	targets := make(chan string, 100)
	local := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		targets <- r.RequestURI
		w.Header()["Content-Length"] = nil
		w.WriteHeader(status)
	}))
	local.Config.Protocols = new(http.Protocols)
	local.Config.Protocols.SetUnencryptedHTTP2(true)
	local.Start()
	t.Cleanup(local.Close)
	return local.Listener.Addr(), targets
}

// early are services that answer before the body has come, by how their answers end.
func early(t *testing.T) map[string]func() (*publish.Target, <-chan string) {
	config := &tls.Config{Certificates: []tls.Certificate{testca.New(t).Issue("localhost")}}
	all := make(map[string]func() (*publish.Target, <-chan string))
	for name, answer := range map[string]string{
		"length":     "200 OK\r\nContent-Length: 2\r\n\r\nno",
		"nothing":    "200 OK\r\nContent-Length: 0\r\n\r\n",
		"no content": "204 No Content\r\n\r\n",
		"chunked":    "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
		"close":      "200 OK\r\n\r\nno",
		"not HTTP":   "what?\r\n\r\n",
	} {
		for scheme, c := range map[string]*tls.Config{"http": nil, "https": config} {
			all[name+" "+scheme] = func() (*publish.Target, <-chan string) {
				addr, asked := hasty(t, c, answer)
				target := tcpTarget(scheme, addr)
				target.Insecure = true
				return target, asked
			}
		}
	}
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusSeeOther, http.StatusNoContent} {
		all[fmt.Sprint("HTTP/2 ", status)] = func() (*publish.Target, <-chan string) {
			addr, asked := hasty2(t, status)
			target := tcpTarget("http", addr)
			target.H2C = true
			return target, asked
		}
	}
	return all
}

// What a visitor sends behind a body that does not come to its end is no request, whatever has
// been answered by then.
func TestWhatFollowsABrokenBodyIsNoRequest(t *testing.T) {
	next := strings.Replace(smuggled, "localhost", domain, 1)
	for service, begin := range early(t) {
		for name, broken := range map[string]string{
			"size of a chunk": "zz\r\n",
			"extension":       "1;" + strings.Repeat("x", 5000) + "\r\n1\r\n",
			"end of a chunk":  "1\r\nab\r\n",
			"trailer":         "0\r\nbad\r\n\r\n",
			"long trailer":    "0\r\nX: " + strings.Repeat("x", 10<<10) + "\r\n\r\n",
			"half a chunk":    fmt.Sprintf("%x\r\n12345", len(next)+5),
		} {
			target, asked := begin()
			p := serveTarget(t, target)
			for _, late := range []bool{false, true} {
				if late && strings.HasPrefix(service, "not HTTP") {
					continue // the page about that waits for the body
				}
				what := fmt.Sprintf("%s, %s, late %t", service, name, late)
				v := p.visitor("http/1.1")
				in := bufio.NewReader(v)
				first, second := broken, next
				if late && name != "half a chunk" {
					first, second = "", broken+next
				}
				io.WriteString(v, "POST /open/ HTTP/1.1\r\nHost: "+domain+"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n"+first)
				if !late {
					io.WriteString(v, second)
					v.CloseWrite()
				}
				res, err := http.ReadResponse(in, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, res.Body)
				}
				if late {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
					io.WriteString(v, second)
					v.CloseWrite()
				}
				rest, _ := io.ReadAll(in)
				if strings.Contains(string(rest), "HTTP/1.1 200") {
					t.Errorf("%s: what follows is answered with %q", what, rest)
				}
				v.Close()
			}
			for len(asked) > 0 {
				if target := <-asked; strings.Contains(target, "secret") {
					t.Errorf("%s, %s: the service is asked for %s", service, name, target)
				}
			}
		}
	}
}
