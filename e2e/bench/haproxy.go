//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"keystay/e2e/bench/internal/child"
)

// descriptors is how many a program may have open here, at the most. Go raises
// its own limit to that, and HAProxy does.
func descriptors() (int, error) {
	var r unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	return int(min(r.Max, 1<<16)), err
}

// haproxyConfig routes by the server name in TCP mode and always splices.
const haproxyConfig = `global
  maxconn %d
  maxpipes %d
  %s
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
  option splice-request
  option splice-response
frontend visitors
  bind fd@3
  tcp-request inspect-delay 5s
  tcp-request content accept if { req.ssl_hello_type 1 }
  use_backend device if { req.ssl_sni -i %s }
backend device
  server device %s
`

// startHAProxy gives HAProxy the listening socket, so that no port has to be
// chosen and it is reachable at once.
func (b *bench) startHAProxy(s *subject, origin string) (*child.Process, error) {
	path, err := haproxyPath()
	if err != nil {
		return nil, err
	}
	limit, err := descriptors()
	if err != nil {
		return nil, err
	}
	conns := limit * 3 / 8 // each takes two descriptors, and a quarter of them a pipe
	tune := ""
	if s.name == haproxyPipes {
		tune = "tune.pipesize 1048576"
	}
	config := filepath.Join(s.dir, fmt.Sprintf("haproxy%d.cfg", len(s.own)))
	if err := os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, conns, conns/4, tune, name, origin), 0o600); err != nil {
		return nil, err
	}
	var ln net.Listener
	err = s.place.relay.Do(func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // which HAProxy does not expect
		ln, err = lc.Listen(context.Background(), "tcp", s.place.listen+":0")
		return err
	})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p, err := b.group.Start(child.Options{Enter: s.place.relay.Do, Files: []*os.File{file}}, path, "-db", "-f", config)
	if err != nil {
		return nil, err
	}
	p.Address = ln.Addr().String()
	s.own = append(s.own, p)
	return p, nil
}
