package cluster

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"keystay/framing"
	"keystay/internal/placing"
	"keystay/relay"
)

// FuzzRecords reads records of any bytes. What one reads and writes again is what it was,
// as far as it was understood.
func FuzzRecords(f *testing.F) {
	at := by(1, 5, 5)
	at.Name = "n.relay.test"
	f.Add(record(kindUp, func(b *cryptobyte.Builder) { addUp(b, &at) }))
	f.Add(words(kindDown, "n.relay.test"))
	f.Add((&hello{node: "a", epoch: 7, agent: "x"}).record())
	f.Add((&refusal{code: 1, text: "no"}).record())
	f.Add((&ping{sent: 1}).record())
	f.Add(pong(1))
	f.Add(cutRecord(&relay.Cut{Name: "n.relay.test"}))
	f.Add((&order{id: 1, name: "n.relay.test", begins: true}).record())
	f.Add(answer(1, true))
	f.Add(turnRecord("n.relay.test", framing.Run{}, 0))
	f.Fuzz(func(t *testing.T, in []byte) {
		k, body, err := readRecord(bytes.NewReader(in), make([]byte, maxRecord))
		if err != nil {
			return
		}
		var again []byte
		switch k {
		case kindHello:
			if h, err := parseHello(body); err == nil {
				again = h.record()
			}
		case kindRefused:
			if r, err := parseRefused(body); err == nil {
				again = r.record()
			}
		case kindUp:
			var all []relay.Presence
			if parseUp(body, func(at relay.Presence) { all = append(all, at) }) == nil {
				again = record(k, func(b *cryptobyte.Builder) {
					for i := range all {
						addUp(b, &all[i])
					}
				})
			}
		case kindDown:
			var all []string
			if parseDown(body, func(name string) { all = append(all, name) }) == nil {
				again = words(k, all...)
			}
		case kindPing:
			if g, err := parsePing(body); err == nil {
				again = g.record()
			}
		case kindPong:
			if sent, err := parsePong(body); err == nil {
				again = pong(sent)
			}
		case kindCut:
			if c, err := parseCut(body); err == nil {
				again = cutRecord(&c)
				if d, err := parseCut(again[recordHead:]); err != nil || d.Name != c.Name || d.Identity != c.Identity || d.Address != c.Address || d.Addresses != c.Addresses {
					t.Fatalf("%+v became %+v, %v", c, d, err)
				}
				return // addresses have several forms
			}
		case kindOrder:
			if o, err := parseOrder(body); err == nil {
				again = o.record()
			}
		case kindAnswer:
			if id, granted, err := parseAnswer(body); err == nil {
				again = answer(id, granted)
			}
		case kindTurn:
			if name, run, left, err := parseTurn(body); err == nil {
				again = turnRecord(name, run, left)
			}
		}
		if again == nil {
			return
		}
		// Flags and fields that are not known yet are left out.
		if known := again[recordHead:]; len(known) > len(body) {
			t.Fatalf("%x became longer: %x", body, known)
		}
		_, second, err := readRecord(bytes.NewReader(again), make([]byte, maxRecord))
		if err != nil || !bytes.Equal(second, again[recordHead:]) {
			t.Fatalf("%x: %v", again, err)
		}
	})
}

// FuzzInvite reads invitations of any text: what is one is written as it was.
func FuzzInvite(f *testing.F) {
	f.Add((&Invite{Address: "a:1"}).String())
	f.Add("keystay-join-1.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseInvite(text)
		if err != nil {
			return
		}
		again, err := ParseInvite(v.String())
		if err != nil || *again != *v {
			t.Fatalf("%q became %+v, %v", text, again, err)
		}
	})
}

// FuzzAnnouncement reads what the list says of a node.
func FuzzAnnouncement(f *testing.F) {
	f.Add([]byte(`{"address":"a:1","weight":100,"machine":"00","epoch":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parseAnnouncement(b); err == nil && (a.Address == "" || a.Weight < 0 || a.Weight > placing.MaxWeight || len(a.Region) > placing.MaxName) {
			t.Fatalf("%q became %+v", b, a)
		}
	})
}
