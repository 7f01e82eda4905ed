package remote_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/remote"
)

// record is a link record.
func record(kind byte, payload ...[]byte) []byte {
	p := bytes.Join(payload, nil)
	return slices.Concat([]byte{kind, byte(len(p) >> 8), byte(len(p))}, p)
}

// owners are whose the names of an older relay are: keys by names.
type owners struct{ sync.Map }

// of is the key that a name belongs to.
func (o *owners) of(name string) ed25519.PublicKey {
	key, _ := o.Load(name)
	b, _ := key.(string)
	return ed25519.PublicKey(b)
}

// oldRelay is a relay of minor version 2 for one connection: it grants each name to the
// first key that claims it.
func oldRelay(c net.Conn, names *owners) {
	defer c.Close()
	var key []byte
	for {
		var h [3]byte
		if _, err := io.ReadFull(c, h[:]); err != nil {
			return
		}
		p := make([]byte, binary.BigEndian.Uint16(h[1:]))
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		switch h[0] {
		case 0x01: // HELLO
			key = p[5:37]
			c.Write(record(0x02, []byte{2, 0, 0, 0, 0}, []byte{1, 187}, []byte{0}))
		case 0x04: // CLAIM
			name := p[:1+p[0]]
			if owner, _ := names.LoadOrStore(string(name[1:]), string(key)); owner == string(key) {
				c.Write(record(0x05, name, make([]byte, 4)))
			} else {
				c.Write(record(0x06, name, []byte{0, 2}, []byte{0, 5}, []byte("taken"), make([]byte, 6)))
			}
		case 0x10: // PING
			c.Write(record(0x11, p))
		}
	}
}

// With a relay that is too old to hear of a new key, the device goes on with the old
// one, which is kept.
func TestOlderRelayGetsTheOldKey(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	var names owners
	ln := acceptAll(t, func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{r.cert}, NextProtos: []string{raw}})
		oldRelay(tc, &names)
	})
	at := func(cfg *remote.Config) { cfg.RelayAddresses = []string{ln.Addr().String()} }
	end(r.startServed(dir, at))
	old := identityOf(t, dir)
	if key := rotate(t, dir); key.Equal(old) {
		t.Fatal("the key is the same")
	}
	rotate(t, dir)
	end(r.startServed(dir, at))
	if got := names.of(domain); !got.Equal(old) {
		t.Errorf("the relay knows %x", got)
	}
	info, err := remote.ShowIdentity(dir)
	if err != nil || len(info.Handovers) != 2 || !strings.Contains(info.Handovers[0].Relays[0].Names[0], domain) {
		t.Errorf("%+v, %v", info, err)
	}

	end(r.startServed(dir, nil)) // the relay was replaced by a newer one
	if info, err = remote.ShowIdentity(dir); err != nil || len(info.Handovers) > 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// With such a relay the device goes on with the first key that has a name there: one from
// before had names that were made from it, and ended with it.
func TestOlderRelayGetsTheKeyThatItsNamesBelongTo(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	var names owners
	ln := acceptAll(t, func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{r.cert}, NextProtos: []string{raw}})
		oldRelay(tc, &names)
	})
	at := func(domain string) func(*remote.Config) {
		return func(cfg *remote.Config) {
			cfg.Domain, cfg.Relays, cfg.RelayAddresses = domain, []string{zone}, []string{ln.Addr().String()}
		}
	}
	end(r.startServed(dir, at("")))
	if _, err := remote.RotateIdentity(dir, true); err != nil {
		t.Fatal(err)
	}
	key := identityOf(t, dir)
	end(r.startServed(dir, at(domain)))
	if _, err := remote.RotateIdentity(dir, true); err != nil {
		t.Fatal(err)
	}
	if err := wait(t, r.startServed(dir, at(domain))); err != nil || !names.of(domain).Equal(key) {
		t.Errorf("the name is of %x, %v", names.of(domain), err)
	}
}

// A name that leads to a relay of before and to a newer one in turn has the device lose no key:
// what the older one grants is granted to the old key, and it has heard of no other.
func TestOldKeyIsKeptWhereVersionsChange(t *testing.T) {
	r, dir := newRelay(t), t.TempDir()
	var names owners
	var mu sync.Mutex
	var older bool
	var last net.Conn
	turn := func() {
		mu.Lock()
		defer mu.Unlock()
		if older = !older; last != nil {
			last.Close()
		}
	}
	ln := acceptAll(t, func(c net.Conn) {
		mu.Lock()
		last = c
		isOlder := older
		mu.Unlock()
		if isOlder {
			oldRelay(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{r.cert}, NextProtos: []string{raw}}), &names)
		} else {
			r.serve(c)
		}
	})
	w := &logWatch{slog.NewTextHandler(t.Output(), nil), "session is up", make(chan struct{}, 1)}
	cfg := r.deviceConfig()
	cfg.StateDir, cfg.Logger, cfg.RelayAddresses = dir, slog.New(w), []string{ln.Addr().String()}
	d := r.openDevice(cfg)
	t.Cleanup(turn) // which ends the last connection
	for i := range 5 {
		if turn(); i == 0 {
			r.serveNames(d, domain)
		}
		select {
		case <-w.seen:
		case <-time.After(patience):
			t.Fatal("no session")
		}
	}
	old := identityOf(t, dir)
	rotate(t, dir)
	mu.Lock()
	last.Close() // the other name is for a link that comes up later
	mu.Unlock()
	if changed, err := d.TakeUpIdentity(); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	other := r.serveNames(d, "other."+zone)[0]
	if err := wait(t, other); err != nil {
		t.Fatal(err)
	}
	if got := names.of("other." + zone); !got.Equal(old) {
		t.Errorf("the other name is granted to %x, and the first one to %x", got, old)
	}
	if info, err := remote.ShowIdentity(dir); err != nil || len(info.Handovers) != 1 {
		t.Errorf("the old key is gone: %+v, %v", info, err)
	}
}
