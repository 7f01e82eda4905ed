package relay_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"keystay/internal/memconn"
)

// A request to the relay itself may have some hundred lines, each time anew on one
// connection; one of many short fields would hold twenty times its bytes, and gets
// 400 as soon as there are too many, before its head has come as a whole.
func TestHeadsOfManyFieldsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		r.device(newIdentity(t), "a.relay.test")
		plain, admin := memconn.Listen(nil), memconn.Listen(nil)
		var wg sync.WaitGroup
		wg.Go(func() { r.srv.ServeHTTP01(plain) })
		wg.Go(func() { r.srv.ServeAdmin(admin, func() error { return nil }) })
		dial := func(ln *memconn.Listener) net.Conn {
			c, err := ln.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		for where, open := range map[string]func() net.Conn{
			"GET / at the site":      func() net.Conn { return r.tls("http/1.1") },
			"GET / at port 80":       func() net.Conn { return dial(plain) },
			"GET /healthz for admin": func() net.Conn { return dial(admin) },
		} {
			path, _, _ := strings.Cut(strings.TrimPrefix(where, "GET "), " ")
			c := open()
			in := bufio.NewReader(c)
			ask := func(fields int, end string) *http.Response {
				head := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n", path, zone)
				for i := range fields {
					head += fmt.Sprintf("%x:\n", i)
				}
				io.WriteString(c, head+end)
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatalf("%s with %d fields: %v", where, fields, err)
				}
				io.Copy(io.Discard, resp.Body)
				return resp
			}
			if where != "GET / at port 80" { // which closes
				for range 3 {
					if resp := ask(100, "\r\n"); resp.StatusCode != 200 {
						t.Errorf("%s with 100 fields: %s", where, resp.Status)
					}
				}
			}
			if resp := ask(150, ""); resp.StatusCode != 400 {
				t.Errorf("%s with 150 fields: %s", where, resp.Status)
			}
			c.Close()
		}
		r.close()
		wg.Wait()
	})
}

// What comes behind a line too many is no request, also where requests are answered
// meanwhile that came in front of it: the connection ends.
func TestNothingIsServedBehindALineTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := memRig(t, nil)
		c := r.tls("http/1.1")
		request := "GET / HTTP/1.1\nHost: " + zone + "\n" + strings.Repeat("a:\n", 60) + "\n"
		io.WriteString(c, strings.Repeat(request, 3)) // in one record
		in := bufio.NewReader(c)
		next := func() *http.Response {
			resp, err := http.ReadResponse(in, nil)
			if err == nil {
				io.Copy(io.Discard, resp.Body)
			}
			return resp
		}
		for range 2 {
			if resp := next(); resp == nil || resp.StatusCode != 200 {
				t.Errorf("in front of the line too many: %v", resp)
			}
		}
		io.WriteString(c, "\n\n") // the end of a head, if the left out lines did not matter
		if resp := next(); resp != nil && resp.StatusCode != 400 {
			t.Errorf("behind it: %s", resp.Status)
		}
		c.Close()
		r.close()
	})
}
