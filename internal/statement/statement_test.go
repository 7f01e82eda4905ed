package statement_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/keyname"
	"keystay/internal/statement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// key is that of the test vector: the seed is the bytes 0 to 31.
func key() ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	return ed25519.NewKeyFromSeed(seed)
}

// example is the statement of the test vector.
func example() statement.Statement {
	s := statement.Statement{
		Name:    keyname.Label(key().Public().(ed25519.PublicKey), "notes") + ".relay.example",
		Word:    "notes",
		Account: "https://acme-v02.api.letsencrypt.org/acme/acct/123456789",
		Time:    time.Date(2026, 11, 29, 3, 4, 5, 0, time.UTC),
	}
	for i := range s.CertificateKey {
		s.CertificateKey[i] = byte(0xa0 + i)
	}
	return s
}

// The test vector of docs/verify.md is what this package signs, byte for byte.
func TestVectorOfTheDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "verify.md"))
	if err != nil {
		t.Fatal(err)
	}
	doc := statement.Sign(key(), example())
	if !bytes.Contains(page, doc) {
		t.Errorf("docs/verify.md does not have the vector:\n%s", doc)
	}
}

// What is signed is read again, and is verified.
func TestStatementComesBack(t *testing.T) {
	want := example()
	s, err := statement.Parse(statement.Sign(key(), want))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(); err != nil {
		t.Error(err)
	}
	if s.Name != want.Name || s.Word != want.Word || s.Account != want.Account || !s.Time.Equal(want.Time) || s.CertificateKey != want.CertificateKey || !s.Identity.Equal(key().Public()) {
		t.Errorf("%+v", s)
	}
	if has, own := s.FromKey(); !has || !own {
		t.Errorf("made from a key: %v, from this one: %v", has, own)
	}
}

// Whatever of a document is changed, the signature does not hold any more.
func TestSignatureIsOverEachField(t *testing.T) {
	doc := statement.Sign(key(), example())
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
	var theirs map[string]any
	json.Unmarshal(statement.Sign(other, example()), &theirs)
	for field, value := range map[string]any{
		"name": "other.relay.example", "word": "", "identity": theirs["identity"], "certificate_key": strings.Repeat("00", 32),
		"account": "", "time": "2026-11-29T03:04:06Z", "signature": theirs["signature"],
	} {
		s, err := statement.Parse(change(t, doc, field, value))
		if err != nil {
			t.Errorf("%s: %v", field, err)
			continue
		}
		if err := s.Verify(); !errors.Is(err, statement.ErrSignature) {
			t.Errorf("%s: %v", field, err)
		}
	}
	s, err := statement.Parse(change(t, doc, "later", "an addition"))
	if err != nil || s.Verify() != nil {
		t.Errorf("a field that is not known: %v", err)
	}
}

// A signature over the same fields without the prefix, as another protocol may have
// made it, is none.
func TestSignatureOfAnotherProtocolIsNone(t *testing.T) {
	doc := statement.Sign(key(), example())
	var d map[string]string
	json.Unmarshal(bytes.Replace(doc, []byte(`"keystay": 1`), []byte(`"keystay": "1"`), 1), &d)
	text := strings.Join([]string{d["name"], d["word"], d["identity"], d["certificate_key"], d["account"], d["time"], ""}, "\x00")
	if text == "" || !strings.HasPrefix(text, example().Name) {
		t.Fatal(text)
	}
	s, err := statement.Parse(change(t, doc, "signature", ed25519.Sign(key(), []byte(text))))
	if err != nil || !errors.Is(s.Verify(), statement.ErrSignature) {
		t.Errorf("%v", err)
	}
}

// A document of another form is told as that, before any signature is looked at.
func TestDocumentOfAnotherFormIsRefused(t *testing.T) {
	doc := statement.Sign(key(), example())
	for field, values := range map[string][]any{
		"keystay":         {0, 2, "1", nil, []int{1}},
		"name":            {"", "XYZ.relay.example", "xyz.relay.example.", "a b", "x\x00y.example", "*.relay.example", strings.Repeat("a.", 140) + "example", 5},
		"word":            {"a\x00b", "a\nb", strings.Repeat("a", 300)},
		"identity":        {"", "AAAA", make([]byte, 31), make([]byte, 33), "not base64", hex.EncodeToString(make([]byte, 32))},
		"certificate_key": {"", strings.Repeat("0", 63), strings.Repeat("0", 66), strings.Repeat("AB", 32), strings.Repeat("zz", 32)},
		"account":         {"http://ca.example/1", "https:///1", "ca.example", "https://ca.example/\x00", "https://ca.example/ 1", "https://ca.example/" + strings.Repeat("1", 1100), "https://é.example/"},
		"time":            {"", "2026-11-29", "2026-11-29T03:04:05+00:00", "2026-11-29T03:04:05.5Z", "2026-02-30T00:00:00Z", "1764385445", "2026-11-29T3:04:05Z"},
		"signature":       {"", make([]byte, 63), make([]byte, 65)},
	} {
		for _, v := range values {
			if s, err := statement.Parse(change(t, doc, field, v)); err == nil {
				t.Errorf("%s %q: %+v", field, v, s)
			}
		}
	}
	for _, whole := range []string{"", "null", "[]", "{}", "<!doctype html>", string(doc) + "x", string(doc[:len(doc)/2]), string(doc) + strings.Repeat(" ", statement.MaxSize)} {
		if s, err := statement.Parse([]byte(whole)); err == nil {
			t.Errorf("%.40q: %+v", whole, s)
		}
	}
}

func change(t *testing.T, doc []byte, field string, value any) []byte {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatal(err)
	}
	d[field] = value
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A statement is fresh for ten minutes to either side.
func TestStatementIsFreshForTenMinutes(t *testing.T) {
	s := example()
	for d, want := range map[time.Duration]bool{0: true, statement.Window: true, -statement.Window: true, statement.Window + 1: false, -statement.Window - 1: false, 9000 * time.Hour: false} {
		if got := s.IsFresh(s.Time.Add(d)); got != want {
			t.Errorf("%v: %v", d, got)
		}
	}
}

// A name with a label of a key's form is only that key's, wherever the label stands.
func TestNameWithTheLabelOfAKeyIsThatKeysAlone(t *testing.T) {
	s := example()
	s.Identity = key().Public().(ed25519.PublicKey)
	own, foreign := s.Label(), keyname.Label(make([]byte, 32), "")
	for name, want := range map[string][2]bool{
		"xyz.relay.example": {false, false}, own + ".relay.example": {true, true}, keyname.Label(s.Identity, "notes") + ".relay.example": {true, true},
		keyname.Label(s.Identity, "other") + ".relay.example": {true, false}, foreign + ".relay.example": {true, false}, "a." + foreign + ".relay.example": {true, false},
	} {
		s.Name = name
		if has, is := s.FromKey(); has != want[0] || is != want[1] {
			t.Errorf("%s: %v, %v", name, has, is)
		}
	}
}

// Whatever is parsed can be signed again, and is then read as the same and verified.
func FuzzParse(f *testing.F) {
	f.Add(statement.Sign(key(), example()))
	f.Add([]byte(`{"keystay":1,"name":"a.example"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := statement.Parse(doc)
		if err != nil {
			return
		}
		again, err := statement.Parse(statement.Sign(key(), *s))
		if err != nil || again.Verify() != nil || again.Name != s.Name || !again.Time.Equal(s.Time) || again.CertificateKey != s.CertificateKey || again.Account != s.Account || again.Word != s.Word {
			t.Errorf("%q: %v", doc, err)
		}
	})
}

func ExampleParse() {
	doc := statement.Sign(key(), example()) // as a device answers with it
	s, err := statement.Parse(doc)
	if err == nil {
		err = s.Verify()
	}
	_, own := s.FromKey()
	fmt.Println(s.Name, own, err)
	// Output: jmakhxkljw4tl7dchl2l5qpziclggzmn.relay.example true <nil>
}
