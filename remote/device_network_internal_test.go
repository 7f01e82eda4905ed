package remote

import (
	"fmt"
	"net/netip"
	"testing"
)

// One network gets half of the places, and others find room whatever it does;
// whoever leaves makes room. A small device has four for each network, as far as
// there are any, and who is near shares nothing.
func TestNetworksShareThePlacesForVisitors(t *testing.T) {
	n := newNetworks(1000)
	enter := func(format string, most int) (all []func()) {
		for i := range most {
			leave, ok := n.enter(netip.MustParseAddr(fmt.Sprintf(format, i%250)))
			if !ok {
				break
			}
			all = append(all, leave)
		}
		return all
	}
	greedy := enter("203.0.113.%d", 1000)
	if len(greedy) != 500 {
		t.Errorf("a greedy network has %d of 1000 places", len(greedy))
	}
	other := enter("2001:db8:1:%x::1", 1000)
	if len(other) < 150 || len(other) > 250 {
		t.Errorf("the next one has %d", len(other))
	}
	if near := enter("192.168.1.%d", 2000); len(near) != 2000 {
		t.Errorf("%d visitors who are near are let in of 2000", len(near))
	}
	for i := range 50 {
		if all := enter(fmt.Sprintf("8.8.%d.%%d", i), 4); len(all) == 0 {
			t.Errorf("network %d finds no place", i)
		} else {
			defer all[0]()
		}
	}
	for _, leave := range append(greedy, other...) {
		leave()
		leave()
	}
	if again := enter("203.0.113.%d", 1000); len(again) < 200 {
		t.Errorf("%d places are left behind those who have gone", len(again))
	}
	n = newNetworks(6)
	if few := enter("203.0.113.%d", 10); len(few) != 4 {
		t.Errorf("of 6 places a network has %d, want 4", len(few))
	}
}
