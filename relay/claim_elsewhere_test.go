package relay_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"io"
	"runtime"
	"testing"
	"time"

	"keystay/framing"
	"keystay/relay"
)

// claimed is what a server is told when a run of a device has got a name in the
// new process.
func claimed(id identity, name string, replica bool) relay.Claimed {
	return relay.Claimed{Name: name, Key: id.key.Public().(ed25519.PublicKey), Run: id.run, Replica: replica}
}

// A claim in the new process replaces what is still here of an older
// run, or of another device; the same run, an older one and another name do not.
func TestClaimedElsewhereReplacesOlderRuns(t *testing.T) {
	r := newRig(t, nil)
	id, other := newIdentity(t), newIdentity(t)
	d := r.device(id.at(5, 1), "a.relay.test", "b.relay.test").echo("a")
	r.srv.ClaimedElsewhere(claimed(id.at(5, 1), "a.relay.test", false)) // it has dialled again
	r.srv.ClaimedElsewhere(claimed(id.at(4, 2), "a.relay.test", false))
	r.srv.ClaimedElsewhere(claimed(id.at(6, 2), "c.relay.test", false))
	r.reaches("a.relay.test", "a")
	d.keeps(t)
	r.srv.ClaimedElsewhere(claimed(id.at(6, 2), "a.relay.test", false))
	d.expectLost(t, "a.relay.test", framing.DeniedReplaced)
	r.reaches("b.relay.test", "a")
	r.srv.ClaimedElsewhere(claimed(other, "b.relay.test", false)) // its grant went to somebody else
	d.expectLost(t, "b.relay.test", framing.DeniedTaken)
}

// Replicas stand side by side across the two processes.
func TestClaimedElsewhereLeavesReplicas(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id.at(5, 1))
	if err := d.Claim(t.Context(), framing.Claim{Name: "a.relay.test", Replica: true}); err != nil {
		t.Fatal(err)
	}
	r.srv.ClaimedElsewhere(claimed(id.at(6, 2), "a.relay.test", true))
	d.echo("a")
	r.reaches("a.relay.test", "a")
	d.keeps(t)
	r.srv.ClaimedElsewhere(claimed(id.at(6, 2), "a.relay.test", false))
	d.expectLost(t, "a.relay.test", framing.DeniedReplaced)
}

// onLane returns a visitor of name whose bytes have moved to a lane of d's, both
// ways.
func (r *rig) onLane(d *device, name string) (visitor conn, stream *framing.Stream) {
	t := r.t
	t.Helper()
	visitor = r.dial()
	hello := helloFor(t, name)
	visitor.Write(hello)
	stream, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stream, make([]byte, len(hello))); err != nil {
		t.Fatal(err)
	}
	tokens, err := d.WantLanes(t.Context(), 1)
	if err != nil || len(tokens) != 1 {
		t.Fatalf("%d tokens, %v", len(tokens), err)
	}
	tc := tls.Client(&framing.TLSRecordConn{Conn: r.dial()}, &tls.Config{RootCAs: r.ca.Pool(), ServerName: zone, NextProtos: []string{framing.LaneProtocol}})
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	lane, err := d.JoinLane(tc, tokens[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := lane.Bind(ctx, stream); err != nil {
		t.Fatal(err)
	}
	stream.Write([]byte("on a lane"))
	if _, err := io.ReadFull(visitor, make([]byte, 9)); err != nil {
		t.Fatal(err)
	}
	// The other direction has moved when the relay's SWITCH has come, on the link.
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		if read, _ := stream.Carrier(); read != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what comes does not move")
		}
	}
	// The relay notes that its SWITCH has gone out before it answers anything later:
	// only then does the stream outlive the link.
	if err := d.Probe(patience); err != nil {
		t.Fatal(err)
	}
	return visitor, stream
}

// The lanes of a run that is replaced in the new process are cut, also
// when the link that they belong to is lost already. Those of the run that has
// dialled again live on.
func TestClaimedElsewhereCutsLanes(t *testing.T) {
	for name, lost := range map[string]bool{"with its link": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			id := newIdentity(t)
			d := r.device(id.at(5, 1), "a.relay.test")
			visitor, stream := r.onLane(d, "a.relay.test")
			if lost {
				d.Close()
				r.waitForLog("remote disconnected")
			}
			r.srv.ClaimedElsewhere(claimed(id.at(5, 1), "a.relay.test", false))
			stream.Write([]byte("still on it"))
			if _, err := io.ReadFull(visitor, make([]byte, 11)); err != nil {
				t.Fatal(err)
			}
			r.srv.ClaimedElsewhere(claimed(id.at(6, 2), "a.relay.test", false))
			visitor.SetReadDeadline(time.Now().Add(patience))
			if _, err := visitor.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("the visitor got %v, want a reset", err)
			}
			stream.Close()
		})
	}
}
