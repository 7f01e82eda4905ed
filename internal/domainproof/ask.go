package domainproof

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// Limit is how long [Resolver.Look] may take in all.
	Limit = 5 * time.Second
	// tryTime is how long one server may take for one answer over UDP, and over
	// TCP.
	tryTime = 1200 * time.Millisecond
	// rounds is how often each server is asked, while none answers.
	rounds = 2
	// MaxServers is how many servers are asked at most.
	MaxServers = 4
	// udpSize is the longest answer over UDP, in bytes: one that is not cut into
	// fragments on its way (RFC 9715).
	udpSize = 1232
	// maxRecords is how many records an answer may have.
	maxRecords = 256
	// maxStray is how many packets that answer another question are passed over.
	// More are somebody's attempt to guess.
	maxStray = 16
)

// A Resolver asks DNS servers. The zero value asks those of the system. It keeps
// nothing: each question goes out.
type Resolver struct {
	// Servers are asked one after the other until one answers, up to MaxServers of
	// them. Without any those of /etc/resolv.conf are asked, as it is then.
	Servers []netip.AddrPort

	limitTime, try time.Duration // 0 are Limit and tryTime; for tests
	conf           string        // "" is /etc/resolv.conf; for tests
}

func (r *Resolver) limit() time.Duration {
	if r.limitTime > 0 {
		return r.limitTime
	}
	return Limit
}

// An Error says that DNS gave no answer that can be used. It is not that there are
// no records.
type Error struct {
	Server   string // that was asked last, ip:port; empty where the answers themselves are wrong
	Question string // as in "the TXT records of _keystay.app.example.com"
	Why      string
	Err      error // may be nil
	Silent   bool  // no server has given an answer, but a failure at most
}

// Error does not name the server, which may be no one else's business.
func (e *Error) Error() string { return e.Question + ": " + e.Why }

// Unwrap returns what went wrong, if it was an error.
func (e *Error) Unwrap() error { return e.Err }

// question is a question for people.
func question(name string, kind uint16) string {
	return fmt.Sprintf("the %s records of %s", dns.TypeToString[kind], strings.TrimSuffix(name, "."))
}

// An asker puts several questions, one after the other.
type asker struct {
	*Resolver
	servers []netip.AddrPort // the one that answered last is the first
	none    error            // why it is not known which these are
}

func (r *Resolver) begin() *asker {
	a := &asker{Resolver: r}
	a.servers, a.none = r.servers()
	return a
}

// ask puts one question to the servers, and returns the first answer that says
// that there are such records, or that there are none (RFC 2308, section 2).
func (a *asker) ask(ctx context.Context, name string, kind uint16) (*dns.Msg, error) {
	if a.none != nil {
		return nil, &Error{Question: question(name, kind), Why: a.none.Error(), Err: a.none, Silent: true}
	}
	var last *Error
	silent := true
	for range rounds {
		for i, s := range a.servers {
			m, why, err := a.askOne(ctx, s, name, kind)
			if why == "" {
				a.servers = slices.Concat(a.servers[i:], a.servers[:i])
				return m, nil
			}
			silent = silent && !heard(m, err)
			last = &Error{Server: s.String(), Question: question(name, kind), Why: why, Err: err, Silent: silent}
			if ctx.Err() != nil {
				return nil, last
			}
		}
	}
	return nil, last
}

// heard reports whether a server has given an answer, which cannot be used.
func heard(m *dns.Msg, err error) bool {
	return m != nil && (err != nil || m.Truncated || m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) || errors.Is(err, errGarbled)
}

// askOne asks one server, over TCP when its answer does not fit in a packet. Why
// is empty when the answer is good. Where it is not, m is what has come.
func (r *Resolver) askOne(ctx context.Context, server netip.AddrPort, name string, kind uint16) (m *dns.Msg, why string, err error) {
	q := new(dns.Msg)
	q.SetQuestion(name, kind)  // with an id that cannot be guessed
	q.AuthenticatedData = true // asks for the bit (RFC 6840, section 5.7)
	q.SetEdns0(udpSize, false)
	m, err = r.exchange(ctx, "udp", server, q)
	if err == nil && m.Truncated {
		part := m
		if m, err = r.exchange(ctx, "tcp", server, q); err != nil {
			m = part
		}
	}
	switch {
	case err != nil:
		return m, "the DNS server " + silence(err), err
	case m.Truncated:
		return m, "the answer is cut off", nil
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return m, "the DNS server says " + rcode(m), nil
	case len(m.Answer) > maxRecords:
		return m, fmt.Sprintf("the answer has more than %d records", maxRecords), nil
	}
	return m, "", nil
}

// silence says in words why there is no answer.
func silence(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "does not answer"
	case errors.Is(err, errStray), errors.Is(err, errGarbled):
		return "answers with " + err.Error()
	}
	return "cannot be reached"
}

// rcode is the failure that a server tells, and what it adds to it (RFC 8914).
func rcode(m *dns.Msg) string {
	text, ok := dns.RcodeToString[m.Rcode]
	if !ok {
		text = fmt.Sprintf("RCODE %d", m.Rcode)
	}
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok && dns.ExtendedErrorCodeToString[e.InfoCode] != "" {
				return text + " (" + dns.ExtendedErrorCodeToString[e.InfoCode] + ")"
			}
		}
	}
	return text
}

var (
	errStray   = errors.New("what was not asked")
	errGarbled = errors.New("what is no answer")
)

// exchange sends a question from a port of its own, and returns the answer to it:
// with its id, its question, from that server and to that port. Other packets are
// passed over.
func (r *Resolver) exchange(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	try := r.try
	if try == 0 {
		try = tryTime
	}
	ctx, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(q); err != nil {
		return nil, err
	}
	packet := make([]byte, udpSize)
	for range maxStray {
		if network == "tcp" {
			packet, err = c.ReadMsgHeader(nil)
		} else {
			packet = packet[:udpSize]
			var n int
			n, err = conn.Read(packet)
			packet = packet[:n]
		}
		if err != nil {
			return nil, err
		}
		m, ok := answer(packet, q)
		switch {
		case ok && m == nil:
			return nil, errGarbled
		case ok:
			return m, nil
		}
	}
	return nil, errStray
}

// answer reads a packet. It reports false for one that does not answer q, and
// returns nil for one that does and cannot be read.
func answer(packet []byte, q *dns.Msg) (m *dns.Msg, ok bool) {
	m = new(dns.Msg)
	readable, https := packet, map[int]dns.RR(nil)
	if q.Question[0].Qtype == dns.TypeHTTPS {
		readable, https = readHTTPS(packet)
	}
	err := m.Unpack(readable)
	if m.Id != q.Id || !m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
		return nil, false
	}
	asked, got := q.Question[0], m.Question[0]
	if got.Qtype != asked.Qtype || got.Qclass != asked.Qclass || dns.CanonicalName(got.Name) != dns.CanonicalName(asked.Name) {
		return nil, false
	}
	// Package dns passes over it that records are missing at the end.
	whole := err == nil && int(binary.BigEndian.Uint16(packet[6:])) == len(m.Answer)
	if !whole && !m.Truncated {
		return nil, true
	}
	for i, rr := range https {
		if i < len(m.Answer) {
			m.Answer[i] = rr
		}
	}
	return m, true
}
