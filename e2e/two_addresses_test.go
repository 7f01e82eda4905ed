package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"keystay/e2e/internal/browser"
	"keystay/e2e/internal/world"
	"keystay/internal/testca"
	"keystay/sni"
)

// insideVariable says that the test runs in a network of its own.
const insideVariable = "KEYSTAY_TEST_TWO_ADDRESSES"

// What real browsers do where a name has two addresses and one of them is dead, in every
// way that a relay can be: the figures of docs/federation.md. It takes minutes, as
// browsers wait for some of the ways.
func TestBrowsersWithADeadSecondAddress(t *testing.T) {
	if !soaking() {
		t.Skip("browsers are measured in a soak alone: it takes minutes")
	}
	if os.Getenv(insideVariable) == "" {
		cmd := exec.Command("unshare", "-n", "-m", os.Args[0], "-test.run=^TestBrowsersWithADeadSecondAddress$", "-test.v", "-test.timeout=20m")
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	n := newTwoAddresses(t)
	for _, kind := range []browser.Kind{browser.Chromium, browser.Firefox} {
		b, err := browser.Find(kind)
		if err != nil {
			t.Fatal(err)
		}
		b.CA, b.Hosts, b.Resolve = n.ca.PEM(), []string{n.name}, true
		for _, how := range []string{"well", "refused", "silent", "reset", "closed", "alert", "held"} {
			n.measure(t, b, string(kind), how)
		}
	}
}

// The two addresses: that which DNS names first is the dead one.
// They are not of loopback alone: with none else a machine counts as offline.
const firstAddress, secondAddress = "10.9.9.2", "10.9.9.3"

// loadLimit is how long a page may take that does not come at last.
const loadLimit = 45 * time.Second

// twoAddresses is a network in which a name has two addresses.
type twoAddresses struct {
	ca   *testca.CA
	name string

	mu     sync.Mutex
	began  time.Time
	events []string
	loaded chan struct{}
}

func newTwoAddresses(t *testing.T) *twoAddresses {
	n := &twoAddresses{ca: testca.New(t), name: "app.example.test"}
	dir := t.TempDir()
	for file, text := range map[string]string{"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1\n", "hosts": "127.0.0.1 localhost\n"} {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mount", "--bind", path, "/etc/"+file).CombinedOutput(); err != nil {
			t.Fatalf("mount: %v: %s", err, out)
		}
	}
	for _, line := range []string{"link set lo up", "link add two type veth peer name other", "addr add " + firstAddress + "/24 dev two",
		"addr add " + secondAddress + "/24 dev two", "link set two up", "link set other up", "route add default via 10.9.9.1"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		srv := &dns.Server{Addr: "127.0.0.1:53", Net: network, Handler: dns.HandlerFunc(n.answer)}
		up := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(up) }
		go srv.ListenAndServe()
		<-up
		t.Cleanup(func() { srv.Shutdown() })
	}
	return n
}

func (n *twoAddresses) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	n.note("asks DNS for " + strings.TrimSuffix(q.Question[0].Name, "."))
	if q.Question[0].Qtype == dns.TypeA && strings.TrimSuffix(q.Question[0].Name, ".") == n.name {
		for _, a := range []string{firstAddress, secondAddress} {
			rr, _ := dns.NewRR(fmt.Sprintf("%s. 5 A %s", n.name, a))
			m.Answer = append(m.Answer, rr)
		}
	}
	w.WriteMsg(m)
}

// note keeps when something happened.
func (n *twoAddresses) note(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.events) < 40 && (!strings.Contains(what, "DNS") || strings.HasSuffix(what, n.name)) {
		n.events = append(n.events, fmt.Sprintf("%v %s", time.Since(n.began).Round(10*time.Millisecond), what))
	}
}

// measure opens the page and logs when what came where.
func (n *twoAddresses) measure(t *testing.T, b browser.Browser, kind, how string) {
	n.mu.Lock()
	n.events, n.loaded, n.began = nil, make(chan struct{}), time.Now()
	n.mu.Unlock()
	stop := n.dead(t, how)
	defer stop()
	ln, err := net.Listen("tcp", net.JoinHostPort(secondAddress, "443"))
	if err != nil {
		t.Fatal(err)
	}
	stopGood := n.serve(ln, "good")
	defer stopGood()
	ctx, cancel := context.WithTimeout(t.Context(), loadLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.Open(ctx, "https://"+n.name+"/") }()
	result := "loaded"
	select {
	case <-n.loaded:
	case <-ctx.Done():
		result = "not loaded"
	case err := <-done:
		result = fmt.Sprintf("ended: %v", err)
	}
	cancel()
	if strings.HasPrefix(result, "loaded") || strings.HasPrefix(result, "not") {
		<-done
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	t.Logf("%s, first address %s: %s; %s", kind, how, result, strings.Join(slices.Compact(n.events), "; "))
}

// serve serves the page.
func (n *twoAddresses) serve(ln net.Listener, where string) (stop func()) {
	loaded := n.loaded
	var once sync.Once
	srv := &http.Server{ReadHeaderTimeout: world.Patience, ErrorLog: nil, TLSConfig: &tls.Config{Certificates: []tls.Certificate{n.ca.Issue(n.name)}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.note(where + " asked for " + r.URL.Path)
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<title>here</title><p>here</p>")
			once.Do(func() { close(loaded) })
		})}
	go srv.ServeTLS(noted{ln, func() { n.note(where + " dialled") }}, "", "")
	return func() { srv.Close() }
}

// noted is a listener that tells of each connection.
type noted struct {
	net.Listener
	came func()
}

func (l noted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.came()
	}
	return c, err
}

// dead makes the first address dead in a way.
func (n *twoAddresses) dead(t *testing.T, how string) (stop func()) {
	switch how {
	case "refused":
		return func() {}
	case "silent":
		return fullSocket(t)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(firstAddress, "443"))
	if err != nil {
		t.Fatal(err)
	}
	if how == "well" {
		return n.serve(ln, "first")
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.note("dead dialled")
			go n.die(c.(*net.TCPConn), how)
		}
	}()
	return func() { ln.Close() }
}

// die takes a hello, and ends the connection as a relay may.
func (n *twoAddresses) die(c *net.TCPConn, how string) {
	buf := make([]byte, 4096)
	c.Read(buf)
	switch how {
	case "reset":
		c.SetLinger(0)
		c.Close()
	case "closed":
		c.Close()
	case "alert":
		sni.Refuse(c, sni.AlertInternalError)
	case "held":
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(buf); err != nil && !os.IsTimeout(err) {
			n.note("dead left alone")
		}
		sni.Refuse(c, sni.AlertInternalError)
	}
}

// fullSocket listens with a backlog that is full, so that the kernel drops each SYN.
func fullSocket(t *testing.T) (stop func()) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &syscall.SockaddrInet4{Port: 443, Addr: [4]byte(net.ParseIP(firstAddress).To4())}
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(fd, a); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	for range 4 {
		if c, err := net.DialTimeout("tcp", net.JoinHostPort(firstAddress, "443"), 300*time.Millisecond); err == nil {
			held = append(held, c)
		}
	}
	return func() {
		for _, c := range held {
			c.Close()
		}
		syscall.Close(fd)
	}
}
