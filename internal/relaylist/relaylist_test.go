package relaylist_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/relaylist"
)

var update = flag.Bool("update", false, "rewrite the example in docs/relay-list.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyOf returns a key that is the same in each test run.
func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

var (
	stamp = relaylist.Stamp{Serial: 1795000000, Issued: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), Expires: time.Date(2026, 12, 29, 12, 0, 0, 0, time.UTC)}
	draft = `{
  "name": "Relays of \"friends\" \\ Freunde",
  "comment": {"of": "nobody", "seen": [1, true, null]},
  "relays": [
    {"relay": "relay.net", "operator": "Ada", "region": "Zürich"},
    {"relay": "Relay.Example:8443", "note": "a field of later days"}
  ]
}`
)

func sign(t testing.TB, draft string, stamp relaylist.Stamp, keys ...ed25519.PrivateKey) []byte {
	t.Helper()
	b, err := relaylist.Sign([]byte(draft), stamp, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, b []byte) *relaylist.List {
	t.Helper()
	l, err := relaylist.Parse(b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	return l
}

func TestSignedListIsReadAsItWasWritten(t *testing.T) {
	l := parse(t, sign(t, draft, stamp, keyOf(1), keyOf(2)))
	want := []relaylist.Relay{{Address: "relay.net", Operator: "Ada", Region: "Zürich"}, {Address: "relay.example:8443"}}
	if l.Name != `Relays of "friends" \ Freunde` || l.Serial != stamp.Serial || !l.Issued.Equal(stamp.Issued) || !l.Expires.Equal(stamp.Expires) || !slices.Equal(l.Relays, want) {
		t.Errorf("%+v", l)
	}
	if keys := l.Signers(); !slices.Equal(keys, []relaylist.Key{relaylist.KeyOf(keyOf(1)), relaylist.KeyOf(keyOf(2))}) {
		t.Errorf("signed by %v", keys)
	}
	if !l.SignedBy(relaylist.KeyOf(keyOf(2))) || l.SignedBy(relaylist.KeyOf(keyOf(3))) {
		t.Error("the wrong keys have signed it")
	}
	for at, expired := range map[time.Duration]bool{-time.Second: false, 0: true, time.Hour: true} {
		if l.Expired(stamp.Expires.Add(at)) != expired {
			t.Errorf("expired %v after its end: %v", at, !expired)
		}
	}
}

// Signing again replaces what was there, keeps what is not known, and takes the same
// document as one that was never signed.
func TestSigningAgainIsSigning(t *testing.T) {
	once := sign(t, draft, stamp, keyOf(1))
	later := stamp
	later.Serial++
	again := sign(t, string(once), later, keyOf(1))
	if fresh := sign(t, draft, later, keyOf(1)); !bytes.Equal(again, fresh) {
		t.Errorf("%s\nis not\n%s", again, fresh)
	}
	if !strings.Contains(string(again), "a field of later days") || !strings.Contains(string(again), `"of": "nobody"`) {
		t.Errorf("fields are lost:\n%s", again)
	}
}

// How the document is laid out is not signed; every value in it is, known or not.
func TestEveryValueIsSigned(t *testing.T) {
	key := relaylist.KeyOf(keyOf(1))
	b := sign(t, draft, stamp, keyOf(1))
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		t.Fatal(err)
	}
	if l := parse(t, compact.Bytes()); !l.SignedBy(key) {
		t.Error("without spaces it is not signed any more")
	}
	escaped := strings.Replace(string(b), "Zürich", `Z\u00fcrich`, 1)
	if l := parse(t, []byte(escaped)); !l.SignedBy(key) {
		t.Error("with an escape for the same character it is not signed any more")
	}
	for old, other := range map[string]string{
		`"Ada"`: `"Eve"`, `"Zürich"`: `"Bern"`, `"relay.net"`: `"relay.com"`, "8443": "8444", "1795000000": "1795000001",
		"2026-11-29": "2026-11-28", "2026-12-29": "2027-12-29", "later days": "these days", "true": "false", "nobody": "somebody",
		`"comment"`: `"remark"`, `"note"`: `"nota"`,
	} {
		changed := strings.Replace(string(b), old, other, 1)
		if changed == string(b) {
			t.Fatalf("%s is not in it", old)
		}
		if l := parse(t, []byte(changed)); l.SignedBy(key) || len(l.Signers()) > 0 {
			t.Errorf("%s in the place of %s: it is still signed", other, old)
		}
	}
}

// Two readers of one document see the same, or there is an error.
func TestDocumentThatReadersMayReadDifferentlyIsRefused(t *testing.T) {
	valid := string(sign(t, draft, stamp, keyOf(1)))
	put := func(old, with string) string {
		changed := strings.Replace(valid, old, with, 1)
		if changed == valid {
			t.Fatalf("%s is not in it", old)
		}
		return changed
	}
	for what, b := range map[string]string{
		"nothing":             "",
		"no object":           "[]",
		"two documents":       valid + valid,
		"a field twice":       put(`"name":`, `"name": "x", "name":`),
		"an inner one twice":  put(`"operator": "Ada"`, `"operator": "Ada", "operator": "Eve"`),
		"a fraction":          put("1795000000", "1795000000.0"),
		"an exponent":         put("1795000000", "1e9"),
		"a negative number":   put("1795000000", "-1"),
		"no number":           put("1795000000", `"1795000000"`),
		"a zero":              put("1795000000", "0"),
		"too large a number":  put("1795000000", "9007199254740992"),
		"half a surrogate":    put("Ada", `\ud800`),
		"no UTF-8":            put("Ada", "\xff"),
		"a control character": put("Ada", `\u0000`),
		"DEL":                 put("Ada", "\x7f"),
		"a field in Greek":    put(`"note"`, `"νότα"`),
		"another version":     put(`"keystay_relays": 1`, `"keystay_relays": 2`),
		"no name":             put(`"name"`, `"title"`),
		"an empty name":       put(`"Relays of \"friends\" \\ Freunde"`, `""`),
		"a long name":         put(`Relays of`, strings.Repeat("x", relaylist.MaxText)),
		"a time with a zone":  put("2026-11-29T12:00:00Z", "2026-11-29T12:00:00+00:00"),
		"a time in parts":     put("2026-11-29T12:00:00Z", "2026-11-29T12:00:00.5Z"),
		"an end before":       put("2026-12-29", "2026-11-28"),
		"no relays":           put(`"relays"`, `"others"`),
		"a relay in capitals": put("relay.net", "Relay.net"),
		"a relay's URL":       put("relay.net", "https://relay.net"),
		"an address":          put("relay.net", "192.0.2.1"),
		"port 443":            put("8443", "443"),
		"port 0":              put("8443", "0"),
		"one relay twice":     put("relay.example:8443", "relay.net"),
		"no signatures":       put(`"signatures"`, `"scribbles"`),
		"half a signature":    put("==\"\n", "\"\n"),
		"too deep":            put(`"nobody"`, strings.Repeat("[", 20)+strings.Repeat("]", 20)),
		"too large":           put(`"nobody"`, `"`+strings.Repeat("x", relaylist.MaxSize)+`"`),
	} {
		if l, err := relaylist.Parse([]byte(b)); err == nil {
			t.Errorf("%s: %+v", what, l)
		}
	}
}

func TestBoundsOfAList(t *testing.T) {
	entries := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"relay": "r%d.example"}`, i))
		}
		return `{"name": "x", "relays": [` + strings.Join(all, ",") + `]}`
	}
	if l := parse(t, sign(t, entries(relaylist.MaxRelays), stamp, keyOf(1))); len(l.Relays) != relaylist.MaxRelays {
		t.Errorf("%d relays", len(l.Relays))
	}
	var keys []ed25519.PrivateKey
	for i := range relaylist.MaxSignatures {
		keys = append(keys, keyOf(byte(i)))
	}
	if l := parse(t, sign(t, draft, stamp, keys...)); len(l.Signers()) != relaylist.MaxSignatures {
		t.Errorf("%d signers", len(l.Signers()))
	}
	for what, try := range map[string]func() error{
		"no relay": func() error { _, err := relaylist.Sign([]byte(entries(0)), stamp, keyOf(1)); return err },
		"a relay more": func() error {
			_, err := relaylist.Sign([]byte(entries(relaylist.MaxRelays+1)), stamp, keyOf(1))
			return err
		},
		"no key":     func() error { _, err := relaylist.Sign([]byte(draft), stamp); return err },
		"a key more": func() error { _, err := relaylist.Sign([]byte(draft), stamp, append(keys, keyOf(99))...); return err },
		"a serial of 0": func() error {
			s := stamp
			s.Serial = 0
			_, err := relaylist.Sign([]byte(draft), s, keyOf(1))
			return err
		},
		"an end in front": func() error {
			s := stamp
			s.Expires = s.Issued
			_, err := relaylist.Sign([]byte(draft), s, keyOf(1))
			return err
		},
	} {
		if try() == nil {
			t.Errorf("%s: it is signed", what)
		}
	}
}

// A signature of a kind that comes later does not keep this program from the others.
func TestSignatureOfAnotherKindIsPassedOver(t *testing.T) {
	b := strings.Replace(string(sign(t, draft, stamp, keyOf(1), keyOf(2))), "ed25519:", "mldsa65:", 1)
	if keys := parse(t, []byte(b)).Signers(); !slices.Equal(keys, []relaylist.Key{relaylist.KeyOf(keyOf(2))}) {
		t.Errorf("signed by %v", keys)
	}
}

func TestKeysHaveOneText(t *testing.T) {
	key := relaylist.KeyOf(keyOf(7))
	if got, err := relaylist.ParseKey(key.String()); err != nil || got != key {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "ed25519:", strings.TrimPrefix(key.String(), "ed25519:"), key.String() + " ", strings.TrimRight(key.String(), "="), strings.ToUpper(key.String())} {
		if _, err := relaylist.ParseKey(s); err == nil {
			t.Errorf("%q is taken for a key", s)
		}
	}
	pem, public, err := relaylist.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if private, err := relaylist.ParsePrivateKey(pem); err != nil || relaylist.KeyOf(private) != public {
		t.Errorf("%v", err)
	}
	if _, err := relaylist.ParsePrivateKey([]byte("no key")); err == nil {
		t.Error("no key is taken for one")
	}
}

// The document in docs/relay-list.md is one that this program makes.
func TestExampleOfTheSpecificationIsCurrent(t *testing.T) {
	const begins, ends = "<!-- Made: go test ./internal/relaylist -update -->\n", "<!-- End of what is made -->\n"
	file := filepath.Join("..", "..", "docs", "relay-list.md")
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(page), begins)
	_, after, ok2 := strings.Cut(rest, ends)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for it", file)
	}
	example := sign(t, `{"name": "Relays of friends", "relays": [{"relay": "relay.net", "operator": "Ada", "region": "Zürich"}, {"relay": "relay.example:8443", "operator": "Bob"}]}`, stamp, keyOf(0))
	want := before + begins + "```json\n" + string(example) + "```\n" + ends + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Errorf("%s is stale: go test ./internal/relaylist -update", file)
	}
}

// What is read from outside is either refused or means the same to encoding/json, which
// other readers are like, and is the same after it was written anew.
func FuzzParse(f *testing.F) {
	f.Add(sign(f, draft, stamp, keyOf(1)))
	f.Add(sign(f, `{"name":"x","relays":[{"relay":"a.b"}]}`, stamp, keyOf(1), keyOf(2)))
	f.Add([]byte(`{"keystay_relays":1,"signatures":[{"key":"ed25519:","signature":""}],"relays":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := relaylist.Parse(b)
		if err != nil {
			return
		}
		var other struct {
			Name   string `json:"name"`
			Serial uint64 `json:"serial"`
			Relays []struct {
				Relay    string `json:"relay"`
				Operator string `json:"operator"`
				Region   string `json:"region"`
			} `json:"relays"`
		}
		var exact map[string]json.RawMessage // encoding/json takes names in other cases for the same
		if err := json.Unmarshal(b, &exact); err != nil {
			t.Fatal(err)
		}
		for name, to := range map[string]any{"name": &other.Name, "serial": &other.Serial, "relays": &other.Relays} {
			if err := json.Unmarshal(exact[name], to); err != nil {
				t.Fatal(err)
			}
		}
		if other.Name != l.Name || other.Serial != l.Serial || len(other.Relays) != len(l.Relays) {
			t.Errorf("%+v is read as %+v", other, l)
		}
		again, err := relaylist.Sign(b, relaylist.Stamp{Serial: l.Serial, Issued: l.Issued, Expires: l.Expires}, keyOf(1))
		if err != nil {
			if len(b) > relaylist.MaxSize/2 { // it may be longer as it is written for people
				return
			}
			t.Fatal(err)
		}
		m := parse(t, again)
		if m.Name != l.Name || !slices.Equal(m.Relays, l.Relays) || !m.SignedBy(relaylist.KeyOf(keyOf(1))) {
			t.Errorf("%+v is read again as %+v", l, m)
		}
	})
}

func ExampleSign() {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // NewKey makes one
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	b, err := relaylist.Sign([]byte(`{"name": "Relays of friends", "relays": [{"relay": "relay.net"}]}`),
		relaylist.Stamp{Serial: 1, Issued: now, Expires: now.AddDate(0, 1, 0)}, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := relaylist.Parse(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Name, l.Relays[0].Address, l.SignedBy(relaylist.KeyOf(key)), l.Expired(now))
	// Output: Relays of friends relay.net true false
}
