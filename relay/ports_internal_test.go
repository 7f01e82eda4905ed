package relay

import (
	"errors"
	"net"
	"testing"

	"keystay/internal/memconn"
)

// idlePorts are ports of which one is listened on, whose remote is away.
func idlePorts(t *testing.T, known func(p *ports) bool) *ports {
	p := &ports{
		listen: func(uint16) ([]net.Listener, error) { return []net.Listener{memconn.Listen(nil)}, nil },
		accept: func(string, net.Listener) {},
		track:  func(ln net.Listener) (net.Listener, error) { return ln, nil },
		serves: func(string) bool { return false },
		paused: func() bool { return false },
	}
	p.known = func(string) bool { return known(p) }
	done, err := p.begin("relay.test:20022", 20022)
	if err != nil {
		t.Fatal(err)
	}
	done()
	return p
}

// Whoever chooses a port asks for those that are unfit while it reads the record, which one
// at a time does. So the record is not asked while that would have to wait.
func TestTheRecordIsNotAskedWhileThePortsAreLocked(t *testing.T) {
	asked := 0
	p := idlePorts(t, func(p *ports) bool {
		asked++
		if !p.mu.TryLock() {
			t.Error("the ports are locked while the record is asked")
			return true
		}
		p.mu.Unlock()
		return true
	})
	if p.look(); asked != 1 || p.count() != 1 {
		t.Errorf("the record was asked %d times, and %d ports are listened on; want 1 and 1", asked, p.count())
	}
}

// A port of which the record says that it is nobody's stays open where it is claimed
// meanwhile, and none is closed where another process may be given it by now.
func TestAPortThatIsClaimedOrHandedOverIsNotClosed(t *testing.T) {
	p := idlePorts(t, func(p *ports) bool {
		if _, err := p.begin("relay.test:20022", 20022); err != nil {
			t.Error(err)
		}
		return false
	})
	if p.look(); p.count() != 1 {
		t.Error("a port was closed whose claim is being decided about")
	}
	pausing := false
	p = idlePorts(t, func(*ports) bool { pausing = true; return false })
	p.paused = func() bool { return pausing }
	if p.look(); p.count() != 1 {
		t.Error("a port was closed after its server was paused")
	}
	p.paused = func() bool { return false }
	if p.look(); p.count() != 0 {
		t.Error("a port that is nobody's is open")
	}
}

// Ports take only a part of the descriptors, however many are given out. One that is over
// that is not unfit: it can be had later.
func TestPortsTakeAPartOfTheDescriptors(t *testing.T) {
	p := idlePorts(t, func(*ports) bool { return false })
	p.most = 2
	if _, err := p.begin("relay.test:20122", 20122); err != nil {
		t.Fatal(err)
	}
	if _, err := p.begin("relay.test:20222", 20222); !errors.Is(err, errManyPorts) || p.isUnfit("relay.test:20222") {
		t.Errorf("of one more: %v, and unfit is %t", err, p.isUnfit("relay.test:20222"))
	}
	if _, err := p.begin("relay.test:20022", 20022); err != nil {
		t.Errorf("of one that is listened on: %v", err)
	}
}
