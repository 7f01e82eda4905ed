//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/site"
	"keystay/e2e/internal/link"
)

const (
	zone = "relay.test"
	name = "xyz.relay.test"
)

// The subjects, in the order of the tables.
const (
	direct   = "direct"
	haproxy  = "haproxy"
	tcpProxy = "tcpproxy"
	session  = "session"
	lanes    = "lanes"
)

// haproxyPipes is HAProxy with pipes of 1 MiB, beside which only bulk is
// measured.
const haproxyPipes = "haproxy-pipes"

// relayAlone is the program relay with no device, for what it needs by itself.
const relayAlone = "relay"

func allSubjects() []string { return []string{direct, haproxy, haproxyPipes, tcpProxy, session, lanes} }

// A place says where the parts of a subject run, and how they reach each other.
type place struct {
	link, where               string
	visitor, relay, remote    *link.Space
	visitorToRelay            string // the relay's host, for visitors
	remoteToRelay             string // the relay's host, for the remote
	relayToRemote, directHost string // the server's host, for a proxy and for visitors
	listen                    string // the host that all listen on
}

func loopback() place {
	const here = "127.0.0.1"
	return place{link: "loopback", visitorToRelay: here, remoteToRelay: here, relayToRemote: here, directHost: here, listen: here}
}

// A subject is a way to the site, running.
type subject struct {
	name   string
	place  place
	door   site.Door
	relay  *child.Process // nil for direct
	second *child.Process // between, too, where a visitor hops
	remote *child.Process // what serves the site
	client *child.Process // what carries visitors to remote at home, where that is a program of its own
	dir    string
	own    []*child.Process // what stop ends
	ctx    context.Context  // of the whole run
}

// pause waits, unless the run is to end.
func (s *subject) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

func (s *subject) stop() {
	for i := len(s.own) - 1; i >= 0; i-- {
		s.own[i].Stop()
	}
	os.RemoveAll(s.dir)
}

// err tells why the subject no longer runs, if it does not.
func (s *subject) err() error {
	for _, p := range s.own {
		if err := p.Err(); err != nil {
			return err
		}
	}
	return nil
}

// available says why a subject cannot be had, or nothing.
func (b *bench) available(subject string) error {
	if subject == haproxy || subject == haproxyPipes || subject == haproxyTwice {
		if _, err := haproxyPath(); err != nil {
			return errors.New("HAProxy is not installed (Debian: apt-get install haproxy)")
		}
	}
	return nil
}

// start starts a subject. Its stop ends it.
func (b *bench) start(what string, at place) (*subject, error) {
	return b.startPrepared(what, at, func(string) error { return nil })
}

// startPrepared is start with something done to the subject's folder before.
func (b *bench) startPrepared(what string, at place, prepare func(dir string) error) (s *subject, err error) {
	s = &subject{name: what, place: at, ctx: b.ctx}
	if s.dir, err = os.MkdirTemp(b.dir, what+"-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
			err = fmt.Errorf("start %s: %w", what, err)
		}
	}()
	if err = prepare(s.dir); err != nil {
		return nil, err
	}
	s.door = site.Door{Name: name, Roots: b.roots, Dial: at.visitor.Dial}
	switch what {
	case session, lanes:
		err = b.startKeystay(s)
	case haproxyTwice, hopSession, hopLanes:
		err = b.startHop(s)
	case relayAlone:
		err = b.startRelay(s)
	default:
		err = b.startReference(s)
	}
	return s, err
}

// startReference starts the TLS server and, but for direct, a proxy before it.
func (b *bench) startReference(s *subject) (err error) {
	at := s.place
	if s.remote, err = b.role(s, at.remote, "server", role{Listen: at.listen + ":0"}); err != nil {
		return err
	}
	port := portOf(s.remote.Address)
	origin := net.JoinHostPort(at.relayToRemote, port)
	switch s.name {
	case direct:
		s.door.Address = net.JoinHostPort(at.directHost, port)
		return nil
	case tcpProxy:
		s.relay, err = b.role(s, at.relay, "tcpproxy", role{Listen: at.listen + ":0", Origin: origin})
	case haproxy, haproxyPipes:
		s.relay, err = b.startHAProxy(s, origin)
	}
	if err == nil {
		s.door.Address = net.JoinHostPort(at.visitorToRelay, portOf(s.relay.Address))
	}
	return err
}

// startKeystay starts the relay, and a device that serves the site by the
// library.
func (b *bench) startKeystay(s *subject) (err error) {
	at := s.place
	if err := b.startRelay(s); err != nil {
		return err
	}
	word := "off"
	if s.name == lanes {
		word = "auto"
	}
	s.remote, err = b.role(s, at.remote, "device", role{
		Relay: net.JoinHostPort(at.remoteToRelay, portOf(s.relay.Address)), Dir: filepath.Join(s.dir, "device"), Lanes: word})
	return err
}

// startRelay starts the real program. A state directory that is in the
// subject's folder already is used.
func (b *bench) startRelay(s *subject) (err error) {
	config := filepath.Join(s.dir, "relay.yaml")
	text := fmt.Sprintf("domain: %s\nlisten: [%q]\nhttp_listen: []\nstate_dir: %s\ntls: {cert_file: %s, key_file: %s}\nadmin: {listen: \"\"}\nlog: {level: info}\n"+noShares,
		zone, s.place.listen+":0", relayState(s.dir), b.cert.Cert, b.cert.Key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	s.relay, err = b.group.Start(child.Options{Enter: s.place.relay.Do, Ready: relayReady},
		filepath.Join(b.bin, "relay"), "--config", config)
	if err != nil {
		return fmt.Errorf("%w (make bench builds the program first)", err)
	}
	s.own = append(s.own, s.relay)
	s.door.Address = net.JoinHostPort(s.place.visitorToRelay, portOf(s.relay.Address))
	return nil
}

// noShares are the limits that a measurement would meet: what a name may carry, and
// what comes from one address where visitors are not on this machine. All others are
// at their defaults.
const noShares = "limits: {exempt: [\"0.0.0.0/0\", \"::/0\"], identity: {bandwidth: off, bytes_per_month: off}, name: {bandwidth: off}}\n"

func relayState(dir string) string { return filepath.Join(dir, "relay") }

func relayReady(line string) (string, bool) {
	_, rest, ok := strings.Cut(line, "msg=listening for=public addr=")
	if !ok {
		return "", false
	}
	return strings.Fields(rest)[0], true
}

// role starts this program in a role, as a part of s.
func (b *bench) role(s *subject, where *link.Space, what string, r role, files ...*os.File) (*child.Process, error) {
	r.certificate = b.cert
	arg, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	p, err := b.group.Start(child.Options{Enter: where.Do, Files: files, Ready: func(line string) (string, bool) {
		return strings.CutPrefix(line, readyWord)
	}}, b.self, "role", what, string(arg))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s.own = append(s.own, p)
	return p, nil
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func haproxyPath() (string, error) {
	if p, err := exec.LookPath("haproxy"); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/haproxy") // not in every user's PATH
}
