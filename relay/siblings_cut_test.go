package relay_test

import (
	"fmt"
	"io"
	"net/netip"
	"testing"

	"keystay/relay"
	"keystay/relay/names"
)

// A name, an identity or an address that is banned at either relay loses the visitors that
// are passed on, at once.
func TestBansEndWhatIsPassedOn(t *testing.T) {
	for what, ban := range map[string]func(a, b *rig, id identity) (*rig, names.Ban){
		"the name, where it came": func(a, _ *rig, _ identity) (*rig, names.Ban) { return a, names.Ban{Kind: names.BanName, Of: shared} },
		"the name, where it is":   func(_, b *rig, _ identity) (*rig, names.Ban) { return b, names.Ban{Kind: names.BanName, Of: shared} },
		"the device, where it came": func(a, _ *rig, id identity) (*rig, names.Ban) {
			return a, names.Ban{Kind: names.BanIdentity, Of: id.identity()}
		},
		"the device, by another node": func(a, _ *rig, id identity) (*rig, names.Ban) {
			return a, names.Ban{Kind: names.BanIdentity, Of: id.identity()}
		},
		"the visitor, where it came": func(a, _ *rig, _ identity) (*rig, names.Ban) {
			return a, names.Ban{Kind: names.BanAddress, Of: "127.0.0.5/32"}
		},
		"the visitor, where it is": func(_, b *rig, _ identity) (*rig, names.Ban) {
			return b, names.Ban{Kind: names.BanAddress, Of: "127.0.0.5/32"}
		},
		"the sibling": func(_, b *rig, _ identity) (*rig, names.Ban) {
			return b, names.Ban{Kind: names.BanAddress, Of: "127.0.0.1/32"}
		},
	} {
		t.Run(what, func(t *testing.T) {
			a, b, id := twoRelays(t)
			a.gone(a.named(id, zone))
			b.named(id, zone).who()
			c := a.from("127.0.0.5").dial()
			hello := helloFor(t, shared)
			c.Write(hello)
			gets(t, c, "127.0.0.5:"+string(hello))
			at, is := ban(a, b, id)
			made, err := at.srv.Names.Ban(is)
			if err != nil {
				t.Fatal(err)
			}
			if what == "the device, by another node" {
				at.srv.Names.OnBans([]names.Ban{made})
			} else {
				at.srv.Cut(cutOf(made))
			}
			closed(t, c)
			if at == a {
				c = a.dial()
				c.Write(hello)
				gets(t, c, "\x15") // an alert
			} else if got := b.passedOn(t, zone, "127.0.0.5:1", shared, shared); got == "\x00" {
				t.Error("the next visitor is taken")
			}
		})
	}
}

// cutOf is what a ban cuts.
func cutOf(b names.Ban) relay.Cut {
	c := relay.Cut{Why: names.Denied{Code: names.DeniedBanned, Text: "banned"}}
	switch b.Kind {
	case names.BanName:
		c.Name = b.Of
	case names.BanIdentity:
		c.Identity = b.Of
	default:
		c.Addresses = netip.MustParsePrefix(b.Of)
	}
	return c
}

// What other devices do with their names while a sibling is asked is nothing to the
// visitor who waits for that: the sibling is asked once.
func TestOthersGiveNamesBackWhileASiblingIsAsked(t *testing.T) {
	const most = 5 // times that it is asked, if that does not end
	a, _, id := twoRelays(t)
	a.gone(a.named(id, zone))
	var theirs []string
	for i := range most {
		theirs = append(theirs, fmt.Sprintf("x%d.relay.test", i))
	}
	other := a.device(newIdentity(t), theirs...)
	ln := listenTCP(t)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: ln.Addr().String(), From: here}})
	asked := make(chan int, 1)
	go func() {
		n := 0
		defer func() { asked <- n }()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			io.CopyN(io.Discard, c, 16) // it has come
			if n < most {
				if err := other.Release(t.Context(), theirs[n]); err != nil {
					t.Error(err)
				}
			}
			n++
			c.Write([]byte("\x00b"))
		}
	}()
	c := a.dial()
	c.Write(helloFor(t, shared))
	gets(t, c, "b")
	ln.Close()
	if n := <-asked; n != 1 {
		t.Errorf("the sibling is asked %d times", n)
	}
}

// A visitor whose device is banned while a sibling is asked is not passed on.
func TestBanWhileASiblingIsAsked(t *testing.T) {
	a, _, id := twoRelays(t)
	a.gone(a.named(id, zone))
	ln := listenTCP(t)
	a.srv.SetSiblings([]relay.Sibling{{Name: zone, Dial: ln.Addr().String(), From: here}})
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		io.CopyN(io.Discard, c, 16)
		made, err := a.srv.Names.Ban(names.Ban{Kind: names.BanIdentity, Of: id.identity()})
		if err != nil {
			t.Error(err)
		}
		a.srv.Cut(cutOf(made))
		c.Write([]byte("\x00b"))
		io.Copy(io.Discard, c) // to its end, or its reset
	}()
	c := a.dial()
	c.Write(helloFor(t, shared))
	gets(t, c, "\x15") // an alert
	<-served
	ln.Close()
}
