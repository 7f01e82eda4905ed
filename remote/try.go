package remote

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"keystay/internal/keyname"
	"keystay/internal/ownfile"
)

// An Outlook is what a start would do for a name.
type Outlook struct {
	Domain string // "" where it is made from a key that is not there yet
	Routes []Route
}

// A Route is a relay that a start would dial for a name.
type Route struct {
	Candidates []string // the relay, or where it may be, in the order to try
	Addresses  []string // to dial instead of the relay's own; may be empty
}

// Look returns what a start would do for a name. It changes nothing in the state
// directory, which may be missing, and dials nothing. The error is one that Listen would
// return.
func Look(cfg DeviceConfig, n Name) (Outlook, error) {
	s := &state{dir: cfg.StateDir}
	if err := s.peek(); err != nil {
		return Outlook{}, err
	}
	if len(n.Relays) == 0 {
		n.Relays = cfg.Relays
	}
	if len(n.RelayAddresses) == 0 {
		n.RelayAddresses = cfg.RelayAddresses
	}
	domain, how, err := s.choose(n)
	if err != nil {
		return Outlook{}, err
	}
	to, err := routes(how, domain, n.RelayAddresses)
	if err != nil {
		return Outlook{}, err
	}
	o := Outlook{Domain: domain}
	for _, r := range to {
		o.Routes = append(o.Routes, Route{Candidates: r.candidates, Addresses: r.addresses})
	}
	if domain == "" && s.key != nil && len(how.Relays) > 0 {
		o.Domain = keyname.Label(s.public(), how.Word) + "." + relayHost(how.Relays[0])
	}
	return o, nil
}

// peek reads the identity, if there is one, and changes nothing. An import that was
// broken off is an error: a start would finish it.
func (s *state) peek() error {
	if halfImported(s.dir) {
		return fmt.Errorf("an import was broken off in %s: a start finishes it", s.dir)
	}
	b, err := ownfile.Read(s.path(identityFile))
	if link := ownfile.Dangling(s.path(identityFile)); link != nil {
		return unusable("read", s.dir, s.path(identityFile), link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		s.key, err = parseIdentity(b)
	}
	if err != nil {
		return unusable("read", s.dir, s.path(identityFile), err)
	}
	return nil
}

// PeekIdentity is ShowIdentity without the lock of the state directory: it writes
// nothing at all there, and an import that was broken off is an error.
func PeekIdentity(stateDir string) (info IdentityInfo, err error) {
	s := &state{dir: stateDir}
	if err := s.peek(); err != nil {
		return info, err
	}
	if s.key == nil {
		return info, fmt.Errorf("%w in %s", ErrNoIdentity, stateDir)
	}
	return s.info()
}

// A TriedLink is what came of a link that claims nothing.
type TriedLink struct {
	Relay      string        // the candidate that answered
	Own        bool          // it was greeted with the device's identity, and not with a key made for this once
	Transport  Transport     // by which it was reached
	Small      bool          // only a small ClientHello got through
	Address    net.Addr      // of the relay, or of a proxy
	Agent      string        // the relay's program
	PublicPort int           // where its visitors arrive
	Names      int           // how many names one link may hold
	Nodes      []TriedNode   // that the relay tells of; none where it runs on one machine
	Took       time.Duration // until the relay had answered, dialling included
}

// TryLink links to a relay as a run does, claims nothing, and ends the link. It changes
// nothing in the state directory, and a run that is under way goes on undisturbed: to the
// relay this is one more link of the same identity. Where there is no identity yet, a key
// is made for this once. The error is one that Listener.Wait would return.
func TryLink(ctx context.Context, cfg DeviceConfig, r Route) (TriedLink, error) {
	var tried TriedLink
	s := &state{dir: cfg.StateDir}
	if err := s.peek(); err != nil {
		return tried, err
	}
	if tried.Own = s.key != nil; !tried.Own {
		var err error
		if _, s.key, err = ed25519.GenerateKey(nil); err != nil {
			return tried, err
		}
	}
	list, err := s.loadHandovers(s.public())
	if err != nil {
		return tried, err
	}
	s.keys.set(s.key, list)
	cfg.NoLanes = true
	d := newDevice(cfg)
	d.state = s
	d.begin()
	d.transports.forgets = true
	defer func() {
		d.stop(nil)
		d.cutAll()
		d.wg.Wait()
	}()
	began := time.Now()
	w := newWay(d, route{candidates: r.Candidates, addresses: r.Addresses})
	reached, err := w.connect(ctx, "")
	if err != nil {
		return tried, err
	}
	tried.Took = time.Since(began)
	defer reached.link.Close()
	tried.Relay, tried.Address = reached.relay, reached.link.RemoteAddr()
	tried.Agent, tried.PublicPort = reached.welcome.Agent, int(reached.welcome.PublicPort)
	tried.Names = int(cmp.Or(reached.welcome.Names, oldNames))
	tried.Transport, tried.Small = d.transports.how(reached.relay)
	tried.Nodes = w.tryNodes(ctx, reached)
	return tried, nil
}

// oldNames is how many names a link holds of a relay that does not say it.
const oldNames = 64

// Running returns the process that serves a name from the state directory, as far as its
// number there says, or 0.
func Running(stateDir, name string) int {
	s := &state{dir: stateDir}
	b, err := ownfile.Read(s.path(pidFile(name)))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:min(len(b), 20)])))
	if err != nil || pid <= 0 {
		return 0
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return 0
	}
	if err := p.Signal(syscall.Signal(0)); err != nil && !errors.Is(err, fs.ErrPermission) && runtime.GOOS != "windows" {
		return 0
	}
	return pid
}
