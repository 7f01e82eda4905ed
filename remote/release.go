package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"keystay/framing"
)

// ErrNoIdentity is wrapped by the error of giving a name back from a state
// directory without a device's key: no name can be its own.
var ErrNoIdentity = errors.New("there is no identity")

// Release gives Domain back at each of the Relays of cfg, or without them at those
// that gave it before; of cfg it takes what says how a relay is reached, too. It
// dials once each, and links for the release alone: a run that serves the name is
// told by the relay and ends. The error wraps a *framing.NotReleased or a
// *framing.Refusal where a relay says no, and is nil when all have taken the name
// back. That a relay which has taken it back gave it is then not remembered any more; it
// wraps a *DamagedError where it cannot be read which others did.
func Release(ctx context.Context, cfg Config) (relays []string, err error) {
	if cfg.StateDir == "" || cfg.Domain == "" {
		return nil, errors.New("release: no state directory, or no name given")
	}
	if _, err := os.Stat(filepath.Join(cfg.StateDir, identityFile)); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("release %s: %w in %s", cfg.Domain, ErrNoIdentity, cfg.StateDir)
	}
	cfg.NoLanes = true
	d, err := openDevice(cfg.device())
	if err != nil {
		return nil, err
	}
	defer func() {
		d.stop(nil)
		d.cutAll()
		d.wg.Wait()
	}()
	choose := d.state.choose
	if _, _, ok := parsePublicPort(cfg.Domain); ok {
		choose = d.state.chooseReleased
	}
	name, how, err := choose(cfg.name())
	if err != nil {
		return nil, err
	}
	to, err := routes(how, name, cfg.RelayAddresses)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, r := range to {
		relay, err := newWay(d, r).release(ctx, cfg.Domain)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		relays = append(relays, relay)
	}
	if len(relays) > 0 && name != "" { // that of a port of which nothing is known here is empty
		errs = append(errs, forgetAt(cfg.StateDir, name, relays))
	}
	return relays, errors.Join(errs...)
}

// release links to the relay and gives a name back.
func (w *way) release(ctx context.Context, name string) (relay string, err error) {
	r, err := w.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer r.link.Close()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err = w.giveBack(ctx, r, name)
	var not *framing.NotReleased
	if errors.Is(err, context.DeadlineExceeded) {
		err = &NoRelayError{Relay: r.relay, Err: &noAnswerError{"the release of " + name, dialTimeout}}
	}
	if errors.As(err, &not) {
		err = fmt.Errorf("relay %s: %w", r.relay, not)
	}
	return r.relay, err
}

// giveBack is release on a link. A relay that has not heard of a hand-over hears of it
// first, with a claim: until then the name is the old key's. What the old key got later
// is given back once a run has had it.
func (w *way) giveBack(ctx context.Context, r *reached, name string) error {
	if len(w.d.state.keys.handovers(r.relay, r.welcome.Minor, r.link.Identity())) > 0 {
		claim := framing.Claim{Name: name}
		if relay, port, ok := parsePublicPort(name); ok {
			claim.Name = framing.PortName(port, relay)
		}
		if _, _, err := w.claimShowing(ctx, r, claim); err != nil {
			return err
		}
	}
	return r.link.Release(ctx, name)
}
