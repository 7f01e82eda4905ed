package framing_test

import (
	"testing"
	"testing/synctest"

	"keystay/framing"
)

// openNamed is open for a visitor of a name.
func openNamed(t *testing.T, r *laneRig, name string) (visitor, device *framing.Stream) {
	t.Helper()
	h := header
	h.Name = name
	visitor, err := r.relay.Open(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	if device, err = r.remote.Accept(); err != nil {
		t.Fatal(err)
	}
	return visitor, device
}

// CutLanesOf cuts the lanes of one name's streams, of which none moves any more. The
// streams of other names keep theirs, and further ones move.
func TestCutLanesOfOneName(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := openNamed(t, r, "one.relay.test")
		v2, d2 := openNamed(t, r, "two.relay.test")
		v3, d3 := openNamed(t, r, "one.relay.test")
		v4, d4 := openNamed(t, r, "two.relay.test")
		r.move(t, d)
		r.move(t, d2)
		r.relay.CutLanesOf("one.relay.test")
		synctest.Wait()
		broken(t, v)
		broken(t, d)
		talk(t, v2, d2)
		spare := r.lane(t)
		if err := spare.Bind(t.Context(), d3); err == nil {
			t.Error("a stream of the name has moved")
		}
		<-r.served
		talk(t, v3, d3)
		r.move(t, d4)
		talk(t, v4, d4)
		for _, s := range []*framing.Stream{v, d, v2, d2, v3, d3, v4, d4} {
			s.Reset()
		}
		settled(t, r.relay, r.remote)
	})
}
