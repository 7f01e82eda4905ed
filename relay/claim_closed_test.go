package relay_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"keystay/framing"
	"keystay/relay"
	"keystay/relay/names"
)

// An unreachable is a store that can be read and not written, as that of a relay whose
// etcd is away.
type unreachable struct{ names.Store }

func (unreachable) Update(func(names.Tx) error) error {
	return fmt.Errorf("%w: nobody answers", names.ErrClosed)
}

// Where the record cannot be reached, a device that wants a new name is told so, and may
// ask again.
func TestClaimSaysThatTheRecordIsAway(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.Names.Grants = unreachable{s.Names.Grants} })
	err := r.claim(newIdentity(t), "a.relay.test", "")
	denied(t, err, framing.DeniedUnavailable)
	var d *framing.Denial
	if errors.As(err, &d); d.Permanent() || !strings.Contains(d.Text, "cannot reach its record of names") || strings.Contains(d.Text, "nobody answers") {
		t.Errorf("the device is told %q", d.Text)
	}
}
