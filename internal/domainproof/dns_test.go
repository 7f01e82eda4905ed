package domainproof_test

import (
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// A server is a DNS server on loopback, over UDP and TCP.
type server struct {
	t    testing.TB
	addr netip.AddrPort

	mu      sync.Mutex
	records []dns.RR
	answer  func(w dns.ResponseWriter, q *dns.Msg) bool // if it returns true, it has answered
	asked   []string                                    // the questions, with the network
}

// newServer starts a server that has these records, in the form of a zone file.
func newServer(t testing.TB, records ...string) *server {
	t.Helper()
	s := &server{t: t}
	for _, r := range records {
		s.records = append(s.records, record(t, r))
	}
	// A port that is free over TCP may be taken over UDP.
	var ln net.Listener
	var pc net.PacketConn
	for range 20 {
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", ln.Addr().String()); err == nil {
			break
		}
		ln.Close()
	}
	if pc == nil {
		t.Fatal("no free port")
	}
	s.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for _, srv := range []*dns.Server{{Listener: ln, Handler: s}, {PacketConn: pc, Handler: s, UDPSize: 4096}} {
		ready := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(ready) }
		wg.Go(func() { srv.ActivateAndServe() })
		<-ready
		t.Cleanup(func() { srv.Shutdown() })
	}
	return s
}

func record(t testing.TB, s string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(s)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// ServeDNS answers as a resolver does: with the CNAMEs from the name on.
func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, w.LocalAddr().Network()+" "+dns.TypeToString[q.Question[0].Qtype]+" "+q.Question[0].Name)
	if s.answer != nil && s.answer(w, q) {
		return
	}
	m := s.reply(q)
	if o := q.IsEdns0(); w.LocalAddr().Network() == "udp" && o != nil {
		m.Truncate(int(o.UDPSize()))
	}
	w.WriteMsg(m)
}

func (s *server) reply(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	at, exists := strings.ToLower(q.Question[0].Name), false
	for range 20 {
		next := ""
		exists = false
		for _, rr := range s.records {
			h := rr.Header()
			exists = exists || dns.IsSubDomain(at, h.Name)
			if h.Name != at {
				continue
			}
			c, alias := rr.(*dns.CNAME)
			if h.Rrtype == q.Question[0].Qtype || alias {
				m.Answer = append(m.Answer, rr)
			}
			if alias && q.Question[0].Qtype != dns.TypeCNAME {
				next = strings.ToLower(c.Target)
			}
		}
		if next == "" {
			break
		}
		at = next
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	return m
}

func (s *server) set(answer func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}
