package cluster

import (
	"strings"
	"testing"

	"keystay/framing"
)

// A visitor of a node at which the name's remote has no link gets to it all the same.
func TestVisitorHopsToTheNodeOfTheLink(t *testing.T) {
	r := newHopRig(t, 2, nil)
	d := r.nodes[1].device(echo("device"), framing.Claim{})
	for range 3 {
		got, err := r.nodes[0].says(d.label(), "more")
		if err != nil || !strings.HasPrefix(got, "device:") || !strings.HasSuffix(got, "more") {
			t.Errorf("got %.40q, %v", got, err)
		}
	}
}
