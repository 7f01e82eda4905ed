package probe_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"keystay/internal/probe"
)

func key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func only(k ed25519.PrivateKey) func(ed25519.PublicKey) bool {
	return func(p ed25519.PublicKey) bool { return p.Equal(k.Public()) }
}

func TestAQuestionAndItsAnswerAreReadAsTheyWereSigned(t *testing.T) {
	k := key(t)
	doc, hash := probe.SignQuestion(k, probe.Question{Name: "a.relay.example", Port: 8443, HTTP: true, To: "b.relay.example", Nonce: make([]byte, probe.NonceSize), Time: time.Now()})
	q, same, err := probe.OpenQuestion(doc, only(k))
	if err != nil || q.Name != "a.relay.example" || q.Port != 8443 || !q.HTTP || q.To != "b.relay.example" || !bytes.Equal(hash, same) {
		t.Fatalf("%+v %v", q, err)
	}
	answer := probe.SignAnswer(k, probe.Answer{Question: hash, Time: time.Now(), Sights: []probe.Sight{{Address: "192.0.2.1:443", Exporter: []byte{1}}}})
	a, err := probe.OpenAnswer(answer, only(k))
	if err != nil || !bytes.Equal(a.Question, hash) || len(a.Sights) != 1 || a.Sights[0].Address != "192.0.2.1:443" {
		t.Fatalf("%+v %v", a, err)
	}
}

func TestWhatATrustedIdentityHasNotSignedIsRefused(t *testing.T) {
	k, other := key(t), key(t)
	was := probe.Question{Name: "a.relay.example", Nonce: []byte{1, 2, 3}}
	doc, _ := probe.SignQuestion(k, was)
	if _, _, err := probe.OpenQuestion(doc, only(other)); !errors.Is(err, probe.ErrStranger) {
		t.Errorf("a stranger's: %v", err)
	}
	if _, err := probe.OpenAnswer(doc, only(k)); !errors.Is(err, probe.ErrSignature) {
		t.Errorf("a question as an answer: %v", err)
	}
	for i := range doc {
		changed := bytes.Clone(doc)
		changed[i] ^= 1
		if q, _, err := probe.OpenQuestion(changed, only(k)); err == nil && !reflect.DeepEqual(q, was) { // base64 and names of fields have several spellings
			t.Fatalf("byte %d can be changed: %s", i, changed)
		}
	}
	if _, _, err := probe.OpenQuestion([]byte(`{"keystay":1,"body":"`+strings.Repeat("A", probe.MaxQuestion)+`"}`), only(k)); err == nil {
		t.Error("a long one is read")
	}
}
