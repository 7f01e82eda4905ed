package malice

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Names is the DNS server of a zone whose operator answers some of those who ask
// otherwise than the rest. It serves UDP, which is enough for short answers.
type Names struct {
	Addr string // host:port

	answer  func(client netip.Addr) []netip.Addr
	server  *dns.Server
	serving sync.WaitGroup
}

// ServeNames starts a server that gives every name the addresses that answer returns
// for the client: its address is that of the resolver that asks. Its caller closes it.
func ServeNames(listen string, answer func(client netip.Addr) []netip.Addr) (*Names, error) {
	udp, err := net.ListenPacket("udp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for DNS: %w", err)
	}
	n := &Names{Addr: udp.LocalAddr().String(), answer: answer}
	started := make(chan struct{})
	n.server = &dns.Server{PacketConn: udp, Handler: dns.HandlerFunc(n.reply), NotifyStartedFunc: func() { close(started) }}
	n.serving.Go(func() { _ = n.server.ActivateAndServe() })
	<-started // Shutdown before that would miss it
	return n, nil
}

// Close ends the server.
func (n *Names) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = n.server.ShutdownContext(ctx)
	n.serving.Wait()
}

// reply answers one question.
func (n *Names) reply(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	client, _ := netip.ParseAddrPort(w.RemoteAddr().String())
	if len(q.Question) == 1 {
		for _, a := range n.answer(client.Addr().Unmap()) {
			head := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 1}
			switch {
			case a.Is4() && q.Question[0].Qtype == dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: head, A: a.AsSlice()})
			case a.Is6() && q.Question[0].Qtype == dns.TypeAAAA:
				m.Answer = append(m.Answer, &dns.AAAA{Hdr: head, AAAA: a.AsSlice()})
			}
		}
	}
	_ = w.WriteMsg(m)
}
