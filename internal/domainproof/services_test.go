package domainproof_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"keystay/internal/domainproof"
)

func TestHTTPSRecordsAreFollowedAsBrowsersDo(t *testing.T) {
	s := newServer(t,
		"port.example. 60 IN HTTPS 1 . port=4443 ipv4hint=192.0.2.1 ipv6hint=2001:db8::1",
		"_8443._https.port.example. 60 IN HTTPS 1 other.example. alpn=h2",
		"alias.example. 60 IN HTTPS 0 end.example.",
		"to.example. 60 IN HTTPS 0 port.example.",
		"under.example. 60 IN HTTPS 0 _end.example.",
		"both.example. 60 IN HTTPS 2 two.example. port=4443",
		"both.example. 60 IN HTTPS 0 end.example.",
		"both.example. 60 IN HTTPS 1 one.example.",
		"_9443._https.port.example. 60 IN HTTPS 1 . alpn=h2",
		"round.example. 60 IN HTTPS 0 round.example.",
		"cname.example. 60 IN CNAME port.example.",
		"gone.example. 60 IN HTTPS 0 .",
	)
	r := &domainproof.Resolver{Servers: []netip.AddrPort{s.addr}}
	for name, want := range map[string]string{
		"port.example":  "[{port.example 4443 [192.0.2.1 2001:db8::1]}]",
		"alias.example": "[{end.example 443 []}]",
		"to.example":    "[{port.example 4443 [192.0.2.1 2001:db8::1]} {port.example 443 []}]",
		"under.example": "[{_end.example 443 []}]",
		"cname.example": "[{port.example 4443 [192.0.2.1 2001:db8::1]}]",
		"both.example":  "[{one.example 443 []} {two.example 4443 []} {end.example 443 []}]",
		"gone.example":  "[]",
		"none.example":  "[]",
	} {
		if got, err := r.Services(t.Context(), name, 443); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s (%v)", name, got, want, err)
		}
	}
	if got, err := r.Services(t.Context(), "port.example", 8443); err != nil || fmt.Sprint(got) != "[{other.example 8443 []}]" {
		t.Errorf("at 8443: %v (%v)", got, err)
	}
	if got, err := r.Services(t.Context(), "port.example", 9443); err != nil || fmt.Sprint(got) != "[{_9443._https.port.example 9443 []} {port.example 9443 []}]" {
		t.Errorf("at 9443: %v (%v)", got, err)
	}
	if got, err := r.Services(t.Context(), "round.example", 443); err == nil {
		t.Errorf("in a circle: %v", got)
	}
}

// raw is an HTTPS record of x.example with data in hex.
func raw(hex string) dns.RR {
	return &dns.RFC3597{Hdr: dns.RR_Header{Name: "x.example.", Rrtype: dns.TypeHTTPS, Class: dns.ClassINET, Ttl: 60}, Rdata: strings.ReplaceAll(hex, " ", "")}
}

// answering returns a resolver whose server answers with these records.
func answering(t *testing.T, records ...dns.RR) *domainproof.Resolver {
	t.Helper()
	s := newServer(t)
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := new(dns.Msg).SetReply(q)
		m.Answer = records
		_ = w.WriteMsg(m)
		return true
	})
	return domainproof.Slow(&domainproof.Resolver{Servers: []netip.AddrPort{s.addr}})
}

// A parameter that is not known here, or that cannot be read, leaves the others as they are.
func TestAParameterCostsNoOther(t *testing.T) {
	for what, c := range map[string]struct{ params, want string }{
		"plain":                         {"0003 0002 115b", "{x.example 4443 []}"},
		"ohttp with a value":            {"0003 0002 115b 0008 0001 00", "{x.example 4443 []}"},
		"unknown ones, and a long one":  {"0003 0002 115b ff00 0003 010203 ffff 0000", "{x.example 4443 []}"},
		"in another order":              {"0008 0000 0003 0002 115b", "{x.example 4443 []}"},
		"an odd mandatory":              {"0000 0001 00 0003 0002 115b", "{x.example 4443 []}"},
		"an alpn that is cut off":       {"0001 0002 0568 0003 0002 115b", "{x.example 4443 []}"},
		"an address of IPv4 as of IPv6": {"0003 0002 115b 0006 0010 00000000000000000000ffff c0000205", "{x.example 4443 [192.0.2.5]}"},
		"an ipv4hint of nothing":        {"0003 0002 115b 0004 0000", "{x.example 4443 []}"},
		"an ipv6hint of nothing":        {"0003 0002 115b 0006 0000", "{x.example 4443 []}"},
		"an ipv4hint and a half":        {"0004 0006 c0000205 c000", "{x.example 443 [192.0.2.5]}"},
		"a long port":                   {"0003 0003 115b00 0004 0004 c0000205", "{x.example 443 [192.0.2.5]}"},
		"two ports":                     {"0003 0002 115b 0003 0002 115c", "{x.example 4443 []} {x.example 4444 []}"},
		"one that is cut off":           {"0003 0002 115b 0004 0009 c0", "{x.example 4443 []}"},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := answering(t, raw("0001 00"+c.params)).Services(t.Context(), "x.example", 443)
			if err != nil || fmt.Sprint(got) != "["+c.want+"]" {
				t.Errorf("%v, want %s (%v)", got, c.want, err)
			}
		})
	}
}

// A record that cannot be read leaves the others as they are, and is told, as are more than
// count.
func TestARecordCostsNoOther(t *testing.T) {
	good := record(t, "x.example. 60 IN HTTPS 1 . port=4443")
	many := []dns.RR{record(t, "x.example. 60 IN HTTPS 2 far.example.")}
	for range 16 {
		many = append(many, good)
	}
	for what, records := range map[string][]dns.RR{
		"without a target":    {good, raw("0001")},
		"without an end":      {raw("0001 08 61"), good},
		"with too many":       many,
		"with too many hints": {record(t, "x.example. 60 IN HTTPS 1 . port=4443 ipv4hint=192.0.2.1"+strings.Repeat(",192.0.2.1", 16))},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := answering(t, records...).Services(t.Context(), "x.example", 443)
			var e *domainproof.Error
			if !errors.As(err, &e) || e.Silent || len(got) == 0 || got[0].Port != 4443 || got[len(got)-1].Host != "x.example" {
				t.Errorf("%v (%v)", got, err)
			}
		})
	}
}

// A label of a target may have a dot in it. Browsers put labels together as they are.
func TestADotInALabelIsOneOfTheName(t *testing.T) {
	target := "08 7370792e6576696c 07 6578616d706c65 00"
	for what, mode := range map[string]string{"as a service": "0001", "as an alias": "0000"} {
		t.Run(what, func(t *testing.T) {
			got, err := answering(t, raw(mode+target)).Services(t.Context(), "x.example", 443)
			if err != nil || fmt.Sprint(got) != "[{spy.evil.example 443 []}]" {
				t.Errorf("%v (%v)", got, err)
			}
		})
	}
}

// Where there is no answer it is not known that there are records. Where there is one that
// cannot be used, or an alias leads to where there is none, it is.
func TestNoAnswerIsToldApartFromOneThatCannotBeRead(t *testing.T) {
	alias := record(t, "x.example. 60 IN HTTPS 0 end.example.")
	for what, c := range map[string]struct {
		answer func(w dns.ResponseWriter, q *dns.Msg)
		silent bool
		want   string
	}{
		"a failure": {func(w dns.ResponseWriter, q *dns.Msg) {
			_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		}, true, "[]"},
		"an answer without its end": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{alias}
			b, _ := m.Pack()
			_, _ = w.Write(b[:len(b)-4])
		}, false, "[]"},
		"cut off over TCP, too": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			_ = w.WriteMsg(m)
		}, false, "[]"},
		"a failure behind an alias": {func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			if m.Answer = []dns.RR{alias}; q.Question[0].Name != "x.example." {
				m = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			}
			_ = w.WriteMsg(m)
		}, false, "[{end.example 443 []}]"},
	} {
		t.Run(what, func(t *testing.T) {
			s := newServer(t)
			s.set(func(w dns.ResponseWriter, q *dns.Msg) bool { c.answer(w, q); return true })
			r := domainproof.Slow(&domainproof.Resolver{Servers: []netip.AddrPort{s.addr}})
			got, err := r.Services(t.Context(), "x.example", 443)
			var e *domainproof.Error
			if !errors.As(err, &e) || e.Silent != c.silent || fmt.Sprint(got) != c.want {
				t.Errorf("%v, want %s (%v)", got, c.want, err)
			}
		})
	}
}

// Of records that package dns takes, all is read that it reads, whatever else there is.
func FuzzHTTPS(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("x.example.", dns.TypeHTTPS)
	q.Id = 7
	for _, records := range [][]dns.RR{
		{record(f, "x.example. 60 IN HTTPS 1 . alpn=h2 port=4443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1")},
		{record(f, "x.example. 60 IN CNAME y.example."), record(f, "y.example. 60 IN HTTPS 0 z.example.")},
		{raw("0001 00 0008 0001 00"), raw("00"), record(f, "x.example. 60 IN HTTPS 2 z.example.")},
	} {
		m := new(dns.Msg).SetReply(q)
		m.Answer, m.Compress = records, true
		m.SetEdns0(1232, false)
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-14])
	}
	told := func(rr dns.RR) string {
		https, ok := rr.(*dns.HTTPS)
		if !ok || https.Target == "" { // which package dns passes over
			return ""
		}
		s := fmt.Sprint(https.Hdr.Name, https.Hdr.Class, https.Priority, https.Target)
		for _, v := range https.Value {
			switch v.Key() {
			case dns.SVCB_PORT, dns.SVCB_IPV4HINT, dns.SVCB_IPV6HINT:
				s += " " + v.String()
			}
		}
		return s
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, ok := domainproof.Answer(packet, q)
		if !ok || m == nil {
			return
		}
		other := new(dns.Msg)
		if other.Unpack(packet) != nil {
			return
		}
		if len(m.Answer) != len(other.Answer) {
			t.Fatalf("%d records, and %d", len(m.Answer), len(other.Answer))
		}
		for i, rr := range other.Answer {
			if want := told(rr); want != "" && told(m.Answer[i]) != want {
				t.Errorf("%q is read as %q", want, told(m.Answer[i]))
			}
		}
	})
}
