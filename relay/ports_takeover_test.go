package relay_test

import (
	"errors"
	"io"
	"net"
	"testing"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// The port is the heir's with its first claim, under the number that it was asked for by.
func TestAPortIsHandedOver(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	old := newIdentity(t)
	before := r.device(old)
	before.claimsPort(t, sshName)
	if err := before.GoAway(t.Context(), framing.GoAway{Code: framing.GoAwayShutdown}); err != nil {
		t.Fatal(err)
	}
	heir, list := heirOf(t, old)
	d := r.device(heir).echo("heir")
	got, err := d.Link.Claim(t.Context(), framing.Claim{Name: sshName, Handovers: list})
	if err != nil || got.Port != 20022 {
		t.Fatalf("the heir got %d, %v", got.Port, err)
	}
	says(t, p.visitor(t, 20022), "heir:")
}

// One process follows another: a visitor who is there stays, the port stays open, and who
// comes in between gets to the remote as soon as that is there.
func TestAPortGoesToTheNextProcess(t *testing.T) {
	var p somePorts
	old := newRig(t, p.offer)
	id := newIdentity(t)
	d := old.device(id).echo("old")
	d.claimsPort(t, sshName)
	stays := p.visitor(t, 20022)
	says(t, stays, "old:")

	if err := old.srv.Pause(); err != nil {
		t.Fatal(err)
	}
	between := p.visitor(t, 20022)
	if err := old.srv.Names.Grants.(*names.Grants).Close(); err != nil {
		t.Fatal(err)
	}
	var given []relay.PortListener
	for _, l := range old.srv.Ports() {
		f, err := l.Listener.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, relay.PortListener{Port: l.Port, Listener: ln})
	}
	if len(given) != 1 || given[0].Port != 20022 {
		t.Fatalf("handed over: %v", given)
	}
	next := newServer(t, nil)
	next.srv.Names.Grants = openGrants(t, old.dir)
	p.offer(next.srv)
	next.ca = old.ca
	next.srv.TLS = old.srv.TLS
	next.srv.Expect(old.srv.Served())
	next.srv.AdoptPorts(given)
	next.listen()
	over := make(chan error, 1)
	go func() {
		over <- old.srv.HandOver(t.Context(), func(net.Conn, []byte) error { return errors.New("not here") })
	}()
	<-d.goAway
	next.device(id).echo("next").claimsPort(t, sshName)
	says(t, between, "next:")
	io.WriteString(stays, "still here")
	says(t, stays, "still here")
	c, err := net.Dial("tcp", given[0].Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	says(t, c, "next:")
	c.Close()
	between.Close()
	stays.Close()
	if err := <-over; err != nil {
		t.Error(err)
	}
	next.close()
}

// A visitor of a port that the old process has accepted is passed on as one of that port.
func TestAVisitorOfAPortIsAdopted(t *testing.T) {
	var p somePorts
	r := newRig(t, p.offer)
	r.device(newIdentity(t)).echo("d").claimsPort(t, sshName)
	f, err := p.open[20022].(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	old, err := net.FileListener(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := r.srv.Pause(); err != nil {
		t.Fatal(err)
	}
	c := p.visitor(t, 20022)
	accepted, err := old.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r.srv.Resume()
	r.srv.Adopt(accepted, nil)
	says(t, c, "d:")
	io.WriteString(c, "and on")
	says(t, c, "and on")
}
