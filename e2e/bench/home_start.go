//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/site"
)

// atHome says why a service cannot be had that way, or nothing.
func (b *bench) atHome(what string) error {
	if what == programs {
		return nil
	}
	if t := tunnelNamed(what); t != nil {
		return t.available(b.peers)
	}
	if err := proxyAvailable(what); err != nil {
		return err
	}
	if _, err := haproxyPath(); err != nil {
		return errors.New("HAProxy is not installed (Debian: apt-get install haproxy)")
	}
	return nil
}

// startHome starts a service, what ends TLS before it, and the way to that.
func (b *bench) startHome(what string) (s *subject, err error) {
	s = &subject{name: what, place: loopback(), ctx: b.ctx}
	if s.dir, err = os.MkdirTemp(b.dir, what+"-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
			err = fmt.Errorf("start %s: %w", what, err)
		}
	}()
	s.door = site.Door{Name: name, Roots: b.roots, Web: true}
	web, err := b.role(s, nil, "web", role{Listen: "127.0.0.1:0"})
	if err != nil {
		return s, err
	}
	if t := tunnelNamed(what); t != nil {
		err = b.startTunnel(s, t, web.Address)
	} else if what == programs {
		err = b.startPrograms(s, web.Address)
	} else {
		err = b.startBehindHAProxy(s, what, web.Address)
	}
	if err != nil {
		return s, err
	}
	return s, b.await(s, func() error { return visitOnce(s) })
}

// startPrograms starts relay and remote.
func (b *bench) startPrograms(s *subject, service string) (err error) {
	if err := b.startRelay(s); err != nil {
		return err
	}
	s.remote, err = b.group.Start(child.Options{Ready: func(line string) (string, bool) {
		return "", strings.HasPrefix(line, "https://"+name)
	}}, filepath.Join(b.bin, "remote"), "--domain", name, "--local", "http://"+service, "--state-dir", filepath.Join(s.dir, "device"),
		"--relay", zone, "--relay-address", s.relay.Address, "--relay-root", b.cert.Cert, "--cert", b.cert.Cert, "--key", b.cert.Key, "--proxy", "none")
	if err != nil {
		return fmt.Errorf("%w (make bench builds the program first)", err)
	}
	s.own = append(s.own, s.remote)
	return nil
}

// startBehindHAProxy starts a reverse proxy, and HAProxy before it.
func (b *bench) startBehindHAProxy(s *subject, what, service string) error {
	origin, err := b.startProxy(s, what, service)
	if err != nil {
		return err
	}
	if s.relay, err = b.startHAProxy(s, origin); err != nil {
		return err
	}
	s.door.Address = s.relay.Address
	return nil
}

// awaitTime is how long a reverse proxy or a tunnel may take until it answers.
const awaitTime = 30 * time.Second

// await waits until something of the subject works.
func (b *bench) await(s *subject, works func() error) error {
	for end := time.Now().Add(awaitTime); ; {
		err := works()
		if err == nil || time.Now().After(end) {
			return err
		}
		if dead := s.err(); dead != nil {
			return dead
		}
		if err := s.pause(50 * time.Millisecond); err != nil {
			return err
		}
	}
}

// dialled makes a connection and ends it.
func dialled(address string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}

// freePort is for programs that take no open socket. Another one may be faster.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return portOf(ln.Addr().String()), nil
}
