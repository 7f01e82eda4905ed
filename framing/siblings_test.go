package framing_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// A relay ends the link of a remote whose siblings are not whole names, or more than
// there may be.
func TestBrokenSiblingsEndTheLink(t *testing.T) {
	nine := []byte{}
	for range framing.MaxSiblings + 1 {
		nine = append(nine, str8("relay.example.org")...)
	}
	for name, field := range map[string][]byte{
		"a part":        str8("relay.example.org")[:5],
		"an empty name": {0},
		"too long":      str8(strings.Repeat("a", 254)),
		"too many":      nine,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, p := handMade{minor: 4, handler: framing.Handler{Claim: grantAll}}.remote(t)
				p.send(rec(claim, str8("x"), str16(""), []byte{0}, str16(""), str16(""), str8(""), u16(len(field)), field))
				<-l.Done()
				if !errors.Is(l.Err(), framing.ErrProtocol) {
					t.Errorf("the link ended with %v", l.Err())
				}
			})
		})
	}
}

// A relay that is too old for siblings gets a claim without them, which it takes.
func TestOlderRelayGetsNoSiblings(t *testing.T) {
	for _, minor := range []int{3, 4} {
		synctest.Test(t, func(t *testing.T) {
			l, p := handMade{minor: uint8(minor)}.relay(t)
			answer := make(chan error, 1)
			go func() {
				_, err := l.Claim(t.Context(), framing.Claim{Name: "x", Siblings: []string{"relay.example.org"}})
				answer <- err
			}()
			if got := strings.Contains(string(p.expect(claim)), "relay.example.org"); got != (minor >= 4) {
				t.Errorf("minor %d: siblings were sent: %v", minor, got)
			}
			p.send(rec(claimed, str8("x"), u32(0)))
			if err := <-answer; err != nil {
				t.Error(err)
			}
			if _, err := l.Claim(t.Context(), framing.Claim{Name: "x", Siblings: make([]string, framing.MaxSiblings+1)}); err == nil {
				t.Error("too many siblings were sent")
			}
		})
	}
}
