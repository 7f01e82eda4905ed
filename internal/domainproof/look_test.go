package domainproof_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"keystay/internal/domainproof"
)

const (
	domain = "app.example.test"
	zone   = "relay.test"
)

// txt is a TXT record of the domain, from the strings in it.
func txt(strs ...string) string {
	return "_keystay." + domain + `. 60 IN TXT "` + strings.Join(strs, `" "`) + `"`
}

// alias is a CNAME.
func alias(from, to string) string { return from + ". 60 IN CNAME " + to + "." }

func (s *server) resolver() *domainproof.Resolver {
	return domainproof.Slow(&domainproof.Resolver{Servers: []netip.AddrPort{s.addr}})
}

func look(t *testing.T, r *domainproof.Resolver) ([]domainproof.Named, error) {
	t.Helper()
	return r.Look(t.Context(), domain, zone)
}

func TestLook(t *testing.T) {
	a, b := device(1), device(2)
	byTXT := func(labels ...string) (list []domainproof.Named) {
		for _, l := range labels {
			list = append(list, domainproof.Named{Label: l, Via: "txt"})
		}
		return list
	}
	byCNAME := []domainproof.Named{{Label: a, Via: "cname"}}
	many := func(n int, last string) (chain []string) {
		from := domain
		for i := range n - 1 {
			to := fmt.Sprintf("c%d.example.test", i)
			chain = append(chain, alias(from, to))
			from = to
		}
		return append(chain, alias(from, last))
	}
	for name, c := range map[string]struct {
		records []string
		want    []domainproof.Named
		fails   string
	}{
		"no such domain":                {nil, nil, ""},
		"no such record":                {[]string{domain + ". 60 IN A 192.0.2.1"}, nil, ""},
		"one device":                    {[]string{txt("keystay=" + a)}, byTXT(a), ""},
		"two devices":                   {[]string{txt("keystay=" + a), txt("keystay=" + b)}, byTXT(a, b), ""},
		"the same one twice":            {[]string{txt("keystay=" + a), txt("KEYSTAY=" + strings.ToUpper(a))}, byTXT(a), ""},
		"among others":                  {[]string{txt("v=spf1 -all"), txt("keystay=" + a), txt("")}, byTXT(a), ""},
		"others alone":                  {[]string{txt("v=spf1 -all"), txt("keystay")}, nil, ""},
		"a split string":                {[]string{txt("key", "stay="+a[:7], a[7:])}, byTXT(a), ""},
		"quotes of a form":              {[]string{txt(`\"keystay=` + a + `\"`)}, byTXT(a), ""},
		"escapes":                       {[]string{txt(`\107eystay\061` + a)}, byTXT(a), ""},
		"a record of the domain itself": {[]string{domain + `. 60 IN TXT "keystay=` + a + `"`}, nil, ""},
		"a record one level up":         {[]string{`_keystay.example.test. 60 IN TXT "keystay=` + a + `"`}, nil, ""},
		"a CNAME":                       {[]string{alias(domain, a+"."+zone)}, byCNAME, ""},
		"a CNAME in capitals":           {[]string{alias(domain, strings.ToUpper(a)+".Relay.TEST")}, byCNAME, ""},
		"a chain":                       {many(4, a+"."+zone), byCNAME, ""},
		"the longest chain":             {many(8, a+"."+zone), byCNAME, ""},
		"a chain too long":              {many(9, a+"."+zone), nil, "more than 8 CNAMEs"},
		"a circle":                      {append(many(3, "x.example.test"), alias("x.example.test", domain)), nil, "round in a circle"},
		"a CNAME of itself":             {[]string{alias(domain, domain)}, nil, "round in a circle"},
		"a CNAME to the relay":          {[]string{alias(domain, zone)}, nil, ""},
		"a CNAME to a name of a person": {[]string{alias(domain, "app."+zone)}, nil, ""},
		"a CNAME below the label":       {[]string{alias(domain, "x."+a+"."+zone)}, nil, ""},
		"a CNAME to another relay":      {[]string{alias(domain, a+".other.test")}, nil, ""},
		"a CNAME to a look-alike":       {[]string{alias(domain, a+".x"+zone)}, nil, ""},
		"behind the relay's names":      {[]string{alias(domain, "app."+zone), alias("app."+zone, a+"."+zone)}, nil, ""},
		"both ways, two devices": {[]string{txt("keystay=" + b), alias(domain, a+"."+zone)},
			append(byTXT(b), byCNAME...), ""},
		"both ways, one device":               {[]string{txt("keystay=" + a), alias(domain, a+"."+zone)}, byTXT(a), ""},
		"TXT over a CNAME":                    {[]string{alias("_keystay."+domain, "proof.example.test"), `proof.example.test. 60 IN TXT "keystay=` + a + `"`}, byTXT(a), ""},
		"TXT over a CNAME that leads nowhere": {[]string{alias("_keystay."+domain, "proof.example.test")}, nil, ""},
		"TXT in a circle": {[]string{alias("_keystay."+domain, "proof.example.test"), alias("proof.example.test", "_keystay."+domain)},
			nil, "round in a circle"},
		"a TXT record beside the CNAME's end": {[]string{alias("_keystay."+domain, "proof.example.test"), `other.example.test. 60 IN TXT "keystay=` + a + `"`}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := look(t, newServer(t, c.records...).resolver())
			if c.fails != "" {
				var e *domainproof.Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%v, want %q", err, c.fails)
				}
				return
			}
			slices.SortFunc(got, func(x, y domainproof.Named) int { return strings.Compare(x.Label, y.Label) })
			slices.SortFunc(c.want, func(x, y domainproof.Named) int { return strings.Compare(x.Label, y.Label) })
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// An answer that does not fit in a packet is asked for over TCP.
func TestLongAnswerOverTCP(t *testing.T) {
	var records []string
	for i := range byte(40) {
		records = append(records, txt("keystay="+device(i)))
	}
	s := newServer(t, records...)
	got, err := look(t, s.resolver())
	if err != nil || len(got) != 40 {
		t.Errorf("%d devices, %v", len(got), err)
	}
	if !slices.Contains(s.questions(), "tcp TXT _keystay."+domain+".") {
		t.Errorf("asked: %q", s.questions())
	}
}

// What a server cannot or will not say is an error, not that there is no record.
func TestFailureIsNoAbsence(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w dns.ResponseWriter, q *dns.Msg) bool
		why    string
	}{
		"SERVFAIL": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
			return true
		}, "SERVFAIL"},
		"SERVFAIL with its reason": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
			w.WriteMsg(m)
			return true
		}, "SERVFAIL (DNSSEC Bogus)"},
		"REFUSED": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused))
			return true
		}, "REFUSED"},
		"an unknown failure": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			w.WriteMsg(new(dns.Msg).SetRcode(q, 13))
			return true
		}, "RCODE 13"},
		"silence":  {func(dns.ResponseWriter, *dns.Msg) bool { return true }, "does not answer"},
		"nonsense": {func(w dns.ResponseWriter, q *dns.Msg) bool { w.Write([]byte("nonsense")); return true }, "does not answer"},
		"half an answer": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			b, _ := new(dns.Msg).SetReply(q).Pack()
			b[7] = 3 // three records, which do not follow
			w.Write(b)
			return true
		}, "what is no answer"},
		"a flood of other answers": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			for range 40 {
				m.Id++
				w.WriteMsg(m)
			}
			return true
		}, "what was not asked"},
		"cut off over TCP, too": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
			return true
		}, "cut off"},
		"too many records": {func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := new(dns.Msg).SetReply(q)
			if m.Truncated = w.LocalAddr().Network() == "udp"; !m.Truncated {
				for range 300 {
					m.Answer = append(m.Answer, record(t, txt("x")))
				}
			}
			w.WriteMsg(m)
			return true
		}, "more than 256 records"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
				return q.Question[0].Qtype == dns.TypeTXT && c.answer(w, q) // the other question is answered
			})
			r := s.resolver()
			if c.why == "does not answer" {
				r = domainproof.Hasty(r)
			}
			got, err := look(t, r)
			var e *domainproof.Error
			if len(got) > 0 || !errors.As(err, &e) || !strings.Contains(e.Why, c.why) || e.Server != s.addr.String() {
				t.Errorf("%v, %v, want %q", got, err, c.why)
			}
			if want := "the TXT records of _keystay." + domain + ": "; !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("the error is %q", err)
			}
		})
	}
}

// A domain that names too many devices names none.
func TestTooManyDevices(t *testing.T) {
	var records []string
	for i := range byte(65) {
		records = append(records, txt("keystay="+device(i)))
	}
	if got, err := look(t, newServer(t, records...).resolver()); err == nil || !strings.Contains(err.Error(), "more than 64 devices") {
		t.Errorf("%d devices, %v", len(got), err)
	}
}

// A packet that answers another question, or comes from elsewhere, is passed over,
// and the answer behind it counts.
func TestForgedPacketsArePassedOver(t *testing.T) {
	a, forged := device(1), device(2)
	s := newServer(t, txt("keystay="+a))
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		forge := func() *dns.Msg {
			m := new(dns.Msg).SetReply(q)
			m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{"keystay=" + forged}}}
			return m
		}
		wrongID, wrongName, wrongType, noAnswer, noQuestion, notify := forge(), forge(), forge(), forge(), forge(), forge()
		wrongID.Id ^= 1
		wrongName.Question = []dns.Question{{Name: "_keystay.other.test.", Qtype: q.Question[0].Qtype, Qclass: dns.ClassINET}}
		wrongType.Question = []dns.Question{{Name: q.Question[0].Name, Qtype: dns.TypeMX, Qclass: dns.ClassINET}}
		noAnswer.Response = false
		noQuestion.Question = nil
		notify.Opcode = dns.OpcodeNotify
		for _, m := range []*dns.Msg{wrongID, wrongName, wrongType, noAnswer, noQuestion, notify} {
			w.WriteMsg(m)
		}
		b, err := forge().Pack()
		if err != nil {
			t.Error(err)
		}
		from, err := net.ListenPacket("udp", "127.0.0.1:0") // another port than was asked
		if err != nil {
			t.Error(err)
			return false
		}
		defer from.Close()
		from.WriteTo(b, w.RemoteAddr())
		return false
	})
	got, err := look(t, s.resolver())
	if err != nil || len(got) != 1 || got[0].Label != a {
		t.Errorf("%v, %v", got, err)
	}
}

// Records of other names, and of other classes, that an answer brings along do not
// count.
func TestRecordsOfOtherNamesDoNotCount(t *testing.T) {
	s := newServer(t)
	s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{
			record(t, `_keystay.other.test. 60 IN TXT "keystay=`+device(1)+`"`),
			record(t, `_keystay.`+domain+`. 60 CH TXT "keystay=`+device(1)+`"`),
			record(t, alias("other.test", device(1)+"."+zone)),
			record(t, `_keystay.`+domain+`. 60 IN SPF "keystay=`+device(1)+`"`),
		}
		m.Extra = []dns.RR{record(t, txt("keystay="+device(1)))}
		m.Ns = []dns.RR{record(t, txt("keystay="+device(1)))}
		w.WriteMsg(m)
		return true
	})
	if got, err := look(t, s.resolver()); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// Where a server does not answer, or fails, the next one is asked, and an answer
// that there is nothing is final.
func TestNextServerIsAsked(t *testing.T) {
	a := device(1)
	failing, good, empty := newServer(t), newServer(t, txt("keystay="+a)), newServer(t)
	failing.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		return true
	})
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := closed.LocalAddr().(*net.UDPAddr).AddrPort()
	closed.Close()
	r := domainproof.Slow(&domainproof.Resolver{Servers: []netip.AddrPort{gone, failing.addr, good.addr, empty.addr}})
	if got, err := look(t, r); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	r.Servers = []netip.AddrPort{empty.addr, good.addr}
	if got, err := look(t, r); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if n := len(good.questions()); n != 2 {
		t.Errorf("asked: %q", good.questions())
	}
	// The server that has answered is asked first the next time.
	if n := len(failing.questions()); n != 2 {
		t.Errorf("asked: %q", failing.questions())
	}
	// A second round: each question fails once. The two are asked side by side, so
	// that their order says nothing.
	failed := map[dns.Question]bool{}
	good.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if failed[q.Question[0]] {
			return false
		}
		failed[q.Question[0]] = true
		w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure))
		return true
	})
	r.Servers = []netip.AddrPort{good.addr}
	if got, err := look(t, r); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// The bit of a resolver that has checked the signatures is kept, if all answers
// that led there have it.
func TestAuthenticatedAnswers(t *testing.T) {
	s := newServer(t, txt("keystay="+device(1)), alias(domain, "x.example.test"), alias("x.example.test", device(2)+"."+zone))
	for unsigned, want := range map[string]string{"": "txt cname", "_keystay." + domain + ".": "cname", "x.example.test.": "txt", domain + ".": "txt"} {
		s.set(func(w dns.ResponseWriter, q *dns.Msg) bool {
			m := s.reply(q)
			m.AuthenticatedData = q.AuthenticatedData && q.Question[0].Name != unsigned
			w.WriteMsg(m)
			return true
		})
		list, err := look(t, s.resolver())
		var got []string
		for _, n := range list {
			if n.Authenticated {
				got = append(got, n.Via)
			}
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q unsigned: %q, %v, want %q", unsigned, got, err, want)
		}
	}
}

// A look-up ends when its context does.
func TestLookEndsWithItsContext(t *testing.T) {
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { cancel(); return true })
	r := s.resolver()
	if _, err := r.Look(ctx, domain, zone); err == nil {
		t.Error("no error")
	}
	if n := len(s.questions()); n > 2 {
		t.Errorf("asked: %q", s.questions())
	}
}

// Whatever servers do, a look-up is over after Limit.
func TestLookIsOverAfterItsLimit(t *testing.T) {
	s := newServer(t)
	s.set(func(dns.ResponseWriter, *dns.Msg) bool { return true })
	r := domainproof.Limited(s.resolver(), 200*time.Millisecond)
	_, err := look(t, r)
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Error(err)
	}
	if n := len(s.questions()); n > 2 {
		t.Errorf("asked again after the limit: %q", s.questions())
	}
}

func TestAddresses(t *testing.T) {
	s := newServer(t, alias(domain, "x.example.test"), "x.example.test. 60 IN A 192.0.2.1", "x.example.test. 60 IN A 192.0.2.2", "x.example.test. 60 IN AAAA 2001:db8::1")
	got, err := s.resolver().Addresses(t.Context(), domain)
	if want := "[192.0.2.1 192.0.2.2 2001:db8::1]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.resolver().Addresses(t.Context(), "none.example.test"); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// A domain that is too long for a record of its own has none.
func TestLongestDomain(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "example" // 251 bytes
	s := newServer(t)
	if got, err := s.resolver().Look(t.Context(), long, zone); err != nil || len(got) > 0 {
		t.Errorf("%v, %v", got, err)
	}
	if q := s.questions(); len(q) != 1 || !strings.Contains(q[0], "CNAME") {
		t.Errorf("asked: %q", q)
	}
}

func TestServersOfTheSystem(t *testing.T) {
	for conf, want := range map[string]string{
		"nameserver 192.0.2.53\nnameserver 2001:db8::53\n":                    "[192.0.2.53:53 [2001:db8::53]:53]",
		"# none\nsearch example.test\nnameserver 192.0.2.53\noptions edns0\n": "[192.0.2.53:53]",
		"nameserver fe80::1%lo\nnameserver x\n":                               "[[fe80::1%lo]:53]",
	} {
		name := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := domainproof.SystemServers(name); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v, want %v", conf, got, err, want)
		}
	}
	empty := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{empty, filepath.Join(t.TempDir(), "none")} {
		if _, err := domainproof.SystemServers(name); !errors.Is(err, domainproof.ErrNoServers) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseServer(t *testing.T) {
	for s, want := range map[string]string{"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:54": "[2001:db8::1]:54"} {
		if got, err := domainproof.ParseServer(s); err != nil || got.String() != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "dns.example.test", "192.0.2.1:", "192.0.2.1:0", ":53", "192.0.2.1:dns", "[2001:db8::1]"} {
		if got, err := domainproof.ParseServer(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// A packet is never taken for an answer that it is not, whatever is in it.
func FuzzAnswer(f *testing.F) {
	q := new(dns.Msg)
	q.SetQuestion("_keystay.app.example.test.", dns.TypeTXT)
	q.Id = 7
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{record(f, txt("keystay="+device(1)))}
	b, err := m.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-9])
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, ok := domainproof.Answer(packet, q)
		if !ok || m == nil {
			return
		}
		if m.Id != 7 || !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeTXT {
			t.Errorf("%x is taken for %v", packet, m)
		}
	})
}
