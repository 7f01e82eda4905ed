package e2e

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"testing"

	"golang.org/x/sys/unix"

	"keystay/e2e/internal/world"
	"keystay/framing"
)

// claim claims a name on a link of its own, and returns why it is not given.
func (p *pairOf) claim(name string) error {
	p.t.Helper()
	c, err := tls.Dial("tcp", p.public, &tls.Config{ServerName: pathZone, RootCAs: p.ca.Pool(), NextProtos: []string{framing.Protocol}})
	if err != nil {
		return err
	}
	defer c.Close()
	_, key, _ := ed25519.GenerateKey(nil)
	var h framing.Hello
	cs := c.ConnectionState()
	if err := h.Sign(key, &cs, pathZone); err != nil {
		return err
	}
	l, _, err := framing.Client(context.Background(), c, h, framing.Handler{})
	if err != nil {
		return err
	}
	defer l.Close()
	_, err = l.Claim(context.Background(), framing.Claim{Name: name})
	return err
}

// TestRelayWithAFullDiskGoesOn lets nothing be written any more to the files of a relay that
// runs. Visitors are served, remotes come back for the names that they have, nobody gets
// a new one, and the log says why. Once there is room again all is as before.
func TestRelayWithAFullDiskGoesOn(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.answers(world.Patience)
	if err := p.claim("before." + pathZone); err != nil {
		t.Fatal(err)
	}
	var was unix.Rlimit
	if err := unix.Prlimit(p.relay.Cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &was); err != nil {
		t.Fatal(err)
	}
	full := was
	full.Cur = 1
	if err := unix.Prlimit(p.relay.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &full, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.claim("while." + pathZone); err == nil {
		t.Error("a name was given that cannot be kept")
	} else {
		t.Log(err)
	}
	p.relay.Await("cannot decide about a claim")
	links := p.relay.Log.Count("name is up")
	p.path.Cut()
	p.answers(world.Patience)
	p.relay.AwaitTimes(world.Patience, "name is up", links+1)
	if n := p.metrics()["keystay_panics_total"]; n != 0 {
		t.Errorf("%v panics", n)
	}
	if err := unix.Prlimit(p.relay.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &was, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.claim("after." + pathZone); err != nil {
		t.Errorf("with room again: %v", err)
	}
	p.answers(world.Patience)
}
