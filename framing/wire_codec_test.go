package framing

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"keystay/internal/hostname"
)

// payloadOf is what a record holds.
func payloadOf(t testing.TB, typ recordType, rec []byte) []byte {
	t.Helper()
	got, n := parseRecordHeader(rec)
	if got != typ || n != len(rec)-recordHeader {
		t.Fatalf("record 0x%02x of %d bytes, want 0x%02x of %d", got, n, typ, len(rec)-recordHeader)
	}
	if n > maxPayload(typ) {
		t.Fatalf("record 0x%02x of %d bytes is beyond its limit", got, n)
	}
	return rec[recordHeader:]
}

// codecs has for each link record with a payload how to decode it, and how to
// encode what was decoded.
var codecs = map[recordType]func(p []byte) (any, []byte, error){
	recHello: func(p []byte) (any, []byte, error) {
		h, err := parseHello(p)
		return h, h.record(), err
	},
	recWelcome: func(p []byte) (any, []byte, error) {
		w, err := parseWelcome(p)
		return w, w.record(), err
	},
	recRefused: func(p []byte) (any, []byte, error) {
		r, err := parseRefusal(p)
		if err != nil {
			return nil, nil, err
		}
		return *r, r.record(), nil
	},
	recClaim: func(p []byte) (any, []byte, error) {
		c, err := parseClaim(p, Minor)
		return c, c.record(Minor), err
	},
	recClaimed: func(p []byte) (any, []byte, error) {
		name, c, err := parseClaimed(p, Minor, true)
		return [2]any{name, c}, c.record(name), err
	},
	recRelease: func(p []byte) (any, []byte, error) {
		name, err := parseName(p)
		return name, nameRecord(recRelease, name), err
	},
	recUnclaim: func(p []byte) (any, []byte, error) {
		name, err := parseName(p)
		return name, nameRecord(recUnclaim, name), err
	},
	recUnclaimed: func(p []byte) (any, []byte, error) {
		name, err := parseName(p)
		return name, nameRecord(recUnclaimed, name), err
	},
	recReleased: func(p []byte) (any, []byte, error) {
		name, not, err := parseReleased(p)
		if not == nil {
			return name, releasedRecord(name, nil), err
		}
		return *not, releasedRecord(name, not), err
	},
	recDenied:    decodeDenial(recDenied),
	recLost:      decodeDenial(recLost),
	recOrder:     decodeOrder(recOrder),
	recOrderTurn: decodeOrder(recOrderTurn),
	recNodes: func(p []byte) (any, []byte, error) {
		n, err := parseNodes(p)
		return n, n.record(), err
	},
	recGoAway: func(p []byte) (any, []byte, error) {
		g, err := parseGoAway(p)
		return g, g.record(), err
	},
}

func decodeDenial(t recordType) func(p []byte) (any, []byte, error) {
	return func(p []byte) (any, []byte, error) {
		d, err := parseDenial(p, Minor)
		if err != nil {
			return nil, nil, err
		}
		return *d, d.record(t), nil
	}
}

func decodeOrder(t recordType) func(p []byte) (any, []byte, error) {
	return func(p []byte) (any, []byte, error) {
		name, yes, err := parseOrder(p)
		return [2]any{name, yes}, orderRecord(t, name, yes), err
	}
}

// records has one of each, with every field set.
var records = map[recordType][]byte{
	recHello: (&Hello{Minor: 1, Capabilities: 0x01020304, Key: bytes.Repeat([]byte{5}, 32), Signature: bytes.Repeat([]byte{6}, 64),
		Run: Run{Number: 1<<64 - 1, ID: [16]byte{7}}, Agent: "agent"}).record(),
	recWelcome: (&Welcome{Minor: 3, Capabilities: 0x01020304, PublicPort: 8443, Agent: "agent", Names: 1024}).record(),
	recRefused: (&Refusal{Code: RefusedBusy, Text: "später"}).record(),
	recClaim: (&Claim{Name: "xyz.relay.test", Token: "token", Replica: true, Certified: true, Rules: Rules{
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("::/0")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("2001:db8::7/128")}},
		Handovers: Handovers{{Old: bytes.Repeat([]byte{8}, 32), OldSigned: bytes.Repeat([]byte{9}, 64), NewSigned: bytes.Repeat([]byte{10}, 64)}}, Word: "word", Siblings: []string{"relay.example.org", "c.test"}}).record(Minor),
	recClaimed:   (&Claimed{OrderIn: time.Hour}).record("xyz.relay.test"),
	recDenied:    (&Denial{Name: "xyz.relay.test", Code: DeniedTaken, Text: "text", Hint: "hint", Retry: time.Hour}).record(recDenied),
	recLost:      (&Denial{Name: "xyz.relay.test", Code: DeniedReplaced, Text: "text", Hint: "hint", Retry: time.Second}).record(recLost),
	recRelease:   nameRecord(recRelease, "xyz.relay.test"),
	recUnclaim:   nameRecord(recUnclaim, "xyz.relay.test"),
	recUnclaimed: nameRecord(recUnclaimed, "xyz.relay.test"),
	recReleased:  releasedRecord("xyz.relay.test", &NotReleased{Text: "text"}),
	recOrder:     orderRecord(recOrder, "xyz.relay.test", true),
	recOrderTurn: orderRecord(recOrderTurn, "xyz.relay.test", false),
	recNodes: (&Nodes{Own: "a", List: []Node{{Name: "a", Address: "192.0.2.1:443", Region: "eu", Weight: 100, Load: 250},
		{Name: "b", Address: "[2001:db8::1]:8443", Load: 65535}}}).record(),
	recGoAway: (&GoAway{Code: GoAwayInternal, In: time.Hour, Text: "text"}).record(),
}

func TestRecordsRoundTrip(t *testing.T) {
	for typ, rec := range records {
		p := payloadOf(t, typ, rec)
		_, again, err := codecs[typ](p)
		if err != nil || !bytes.Equal(again, rec) {
			t.Errorf("record 0x%02x: %x came back as %x, %v", typ, rec, again, err)
		}
		for n := range p {
			if _, _, err := codecs[typ](p[:n]); !errors.Is(err, ErrProtocol) {
				t.Errorf("record 0x%02x cut after %d bytes: %v", typ, n, err)
			}
		}
	}
}

// What is too long for its field is cut, so that no record is ever too long.
func TestLongFieldsAreCut(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	for typ, rec := range map[recordType][]byte{
		recHello:     (&Hello{Key: make([]byte, 32), Signature: make([]byte, 64), Agent: long}).record(),
		recWelcome:   (&Welcome{Agent: long}).record(),
		recRefused:   (&Refusal{Text: long}).record(),
		recDenied:    (&Denial{Name: long, Text: long, Hint: long, Retry: 1 << 62}).record(recDenied),
		recClaimed:   (&Claimed{OrderIn: 1 << 62}).record("xyz.relay.test"),
		recReleased:  releasedRecord("xyz.relay.test", &NotReleased{Text: long}),
		recOrder:     orderRecord(recOrder, "xyz.relay.test", true),
		recOrderTurn: orderRecord(recOrderTurn, "xyz.relay.test", false),
		recGoAway:    (&GoAway{In: -time.Hour, Text: long}).record(),
	} {
		if _, _, err := codecs[typ](payloadOf(t, typ, rec)); err != nil {
			t.Errorf("record 0x%02x: %v", typ, err)
		}
	}
}

// FuzzLinkRecord: no payload makes a decoder panic; what it accepts, it accepts
// again after encoding, with the same meaning; and text is safe to show.
func FuzzLinkRecord(f *testing.F) {
	for typ, rec := range records {
		f.Add(byte(typ), rec[recordHeader:])
	}
	f.Fuzz(func(t *testing.T, typ byte, p []byte) {
		decode := codecs[recordType(typ)]
		if decode == nil || len(p) > maxPayload(recordType(typ)) {
			return
		}
		first, rec, err := decode(p)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v", err)
			}
			return
		}
		second, again, err := decode(payloadOf(t, recordType(typ), rec))
		if err != nil {
			t.Fatalf("%+v does not come back: %v", first, err)
		}
		switch v := second.(type) { // text may have been cut or replaced
		case Hello:
			safe(t, v.Agent)
		case Welcome:
			safe(t, v.Agent)
		case Refusal:
			safe(t, v.Text)
		case Denial:
			safe(t, v.Text)
			safe(t, v.Hint)
		case NotReleased:
			safe(t, v.Text)
		case GoAway:
			safe(t, v.Text)
		default:
			if !reflect.DeepEqual(first, second) || !bytes.Equal(rec, again) {
				t.Fatalf("%+v came back as %+v", first, second)
			}
		}
	})
}

func safe(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Fatalf("text %q is not UTF-8", text)
	}
	for _, r := range text {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			t.Fatalf("text %q has a control character", text)
		}
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	v4, v6 := netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("[2001:db8::7]:443")
	for _, h := range []Header{
		{Name: "xyz.relay.test", ID: [16]byte{1, 15: 2}, Source: v4, Dest: v4},
		{Name: "xyz.relay.test", Kind: KindHTTP01, Source: v6, Dest: v6},
		{Name: strings.Repeat("x", hostname.Max), Kind: 255, Source: v4, Dest: v6},
		{Name: "x", Source: v6, Dest: v4},
	} {
		rec, err := h.record()
		if err != nil {
			t.Errorf("%+v: %v", h, err)
			continue
		}
		got, err := parseHeader(rec[recordHeader:])
		if err != nil || got != h {
			t.Errorf("%+v came back as %+v, %v", h, got, err)
		}
	}
}

// FuzzHeader: no bytes make the decoder panic, and what it accepts is a header
// that can be sent on.
func FuzzHeader(f *testing.F) {
	h := Header{Name: "xyz.relay.test", Kind: KindHTTP01, ID: [16]byte{1},
		Source: netip.MustParseAddrPort("192.0.2.7:4711"), Dest: netip.MustParseAddrPort("192.0.2.8:443")}
	for range 2 {
		rec, err := h.record()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rec[recordHeader:])
		h.Source = netip.MustParseAddrPort("[2001:db8::7]:443")
	}
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxHeader {
			return
		}
		h, err := parseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				t.Fatalf("error %v", err)
			}
			return
		}
		rec, err := h.record()
		if err != nil {
			t.Fatalf("%+v cannot be sent: %v", h, err)
		}
		if got, err := parseHeader(rec[recordHeader:]); err != nil || got != h {
			t.Fatalf("%+v came back as %+v, %v", h, got, err)
		}
	})
}

// A tape writes down what a parser hands to its sink.
type tape struct {
	calls []string
	bytes []byte // of the DATA since the last other call
}

func (s *tape) note(format string, args ...any) {
	if len(s.bytes) > 0 {
		s.calls = append(s.calls, fmt.Sprintf("data %x", s.bytes))
		s.bytes = nil
	}
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
}

func (s *tape) begun(h Header) error    { s.note("begun %+v", h); return nil }
func (s *tape) data(p []byte) error     { s.bytes = append(s.bytes, p...); return nil }
func (s *tape) end()                    { s.note("end") }
func (s *tape) fail(err error)          { s.note("fail %v", err) }
func (s *tape) credited(n uint32) error { s.note("credit %d", n); return nil }
func (s *tape) returned(n uint32) error { s.note("return %d", n); return nil }
func (s *tape) lanes() bool             { return true }
func (s *tape) returns() bool           { return true }
func (s *tape) switched(n uint64) error { s.note("switch %d", n); return nil }

// listen feeds b to a parser in pieces, whose lengths are those of cuts, over
// and over, and returns what it said.
func listen(t testing.TB, opener bool, b, cuts []byte) (calls []string) {
	p, s := parser{}, &tape{}
	if opener {
		p.phase = phaseData
	}
	var err error
	for i := 0; len(b) > 0 && err == nil; i++ {
		n := len(b)
		if len(cuts) > 0 {
			n = min(n, 1+int(cuts[i%len(cuts)]))
		}
		err = p.feed(s, b[:n:n])
		b = b[n:]
		if cap(p.payload) > 2*maxControl+n {
			t.Fatalf("the parser holds %d bytes", cap(p.payload))
		}
	}
	if err != nil && !errors.Is(err, ErrProtocol) {
		t.Fatalf("error %v", err)
	}
	s.note("error %v", err)
	return s.calls
}

// FuzzStreamParser: however the bytes of a stream are cut, the same comes out.
func FuzzStreamParser(f *testing.F) {
	h := Header{Name: "xyz.relay.test", Source: netip.MustParseAddrPort("192.0.2.7:4711"), Dest: netip.MustParseAddrPort("192.0.2.8:443")}
	begin, err := h.record()
	if err != nil {
		f.Fatal(err)
	}
	rest := appendRecord(nil, recData, []byte("some data"))
	rest = appendRecord(rest, 0x81, []byte("later"))
	rest = appendRecord(rest, recReturn, []byte{0, 1, 0, 0, 9})
	rest = appendRecord(rest, recCredit, []byte{0, 1, 0, 0, 9})
	rest = appendRecord(rest, recEnd, nil)
	f.Add(false, append(begin, appendRecord(rest, recReset, []byte{0, 2})...), []byte{0})
	f.Add(true, rest, []byte{3, 1, 4})
	f.Add(true, appendRecord(rest, recData, []byte("after the end")), []byte{16})
	f.Add(false, rest, []byte{255})
	f.Fuzz(func(t *testing.T, opener bool, b, cuts []byte) {
		whole := listen(t, opener, b, nil)
		pieces := listen(t, opener, b, cuts)
		if !reflect.DeepEqual(whole, pieces) {
			t.Fatalf("whole:  %q\npieces: %q", whole, pieces)
		}
	})
}
