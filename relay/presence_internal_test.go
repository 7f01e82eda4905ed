package relay

import (
	"context"
	"crypto/ed25519"
	"testing"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A claim that was being decided when its link was lost does not make a name
// lead there: nobody would take it away again.
func TestClaimOfLostLink(t *testing.T) {
	a, b := memconn.Pipe(0)
	h := framing.Hello{Key: make([]byte, ed25519.PublicKeySize), Signature: make([]byte, ed25519.SignatureSize)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		framing.Client(context.Background(), b, h, framing.Handler{})
	}()
	link, _, err := framing.Server(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	link.Close()
	<-gone
	var p presence
	s := &session{link: link, key: h.Key, names: []string{"a.relay.test"}}
	p.join(s)
	p.outlive(s)
	p.leave(s)
	if err := p.claim(s, framing.Claim{Name: "b.relay.test"}); err == nil {
		t.Error("a link that is lost has got a name")
	}
	if _, names := p.count(); names != 0 {
		t.Errorf("%d names lead to nobody", names)
	}
}

// A claim that was being decided when its remote said that it goes away does not
// make the name lead there either.
func TestClaimOfARemoteThatGoesAway(t *testing.T) {
	a, b := memconn.Pipe(0)
	h := framing.Hello{Key: make([]byte, ed25519.PublicKeySize), Signature: make([]byte, ed25519.SignatureSize)}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		framing.Client(context.Background(), b, h, framing.Handler{})
	}()
	link, _, err := framing.Server(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { link.Close(); <-gone }()
	var p presence
	s := &session{link: link, key: h.Key}
	p.join(s)
	s.away.Store(true)
	p.withdraw(s) // as goAway does
	if err := p.claim(s, framing.Claim{Name: "a.relay.test"}); err == nil {
		t.Error("a remote that goes away has got a name")
	}
	if _, names := p.count(); names != 0 {
		t.Errorf("%d names lead to a remote that goes away", names)
	}
}
