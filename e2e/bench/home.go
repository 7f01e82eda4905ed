//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/result"
	"keystay/e2e/bench/internal/site"
)

// What stands at home before one HTTP service: the program remote behind the
// program relay, and two reverse proxies that end TLS, behind HAProxy.
const (
	programs = "programs"
	caddy    = "caddy"
	nginx    = "nginx"
)

// caddyConfig ends TLS and forwards to the service. Caddy keeps connections to
// it open by itself.
const caddyConfig = `{
	admin off
	auto_https off
}
https://%s:%s {
	bind 127.0.0.1
	tls %s %s
	reverse_proxy %s
}
`

// nginxConfig does the same in one process, whose time can be told, and keeps
// connections to the service open, which nginx does not by itself.
const nginxConfig = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	keepalive_requests 100000000;
	upstream service { server %[2]s; keepalive 64; keepalive_requests 100000000; }
	server {
		listen 127.0.0.1:%[3]s ssl;
		server_name %[4]s;
		ssl_certificate %[5]s;
		ssl_certificate_key %[6]s;
		ssl_protocols TLSv1.2 TLSv1.3;
		location / {
			proxy_pass http://service;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $host;
		}
	}
}
`

// home measures whole services, in turn.
func (b *bench) home() error {
	if !b.has("home") {
		return nil
	}
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	for _, what := range []string{programs, caddy, nginx} {
		if err := atHome(what); err != nil {
			b.skip("home: "+what, err)
			continue
		}
		s, err := b.startHome(what)
		if err != nil {
			return err
		}
		subjects = append(subjects, s)
	}
	p := b.plan
	return b.inTurn("home", subjects, []test{
		{"home_keepalive", func(s *subject) (result.Measurement, error) { return requests(s, 1, p.warm, p.window) }},
		{"home_keepalive", func(s *subject) (result.Measurement, error) { return requests(s, 16, p.warm, p.window) }},
		{"home_conn", func(s *subject) (result.Measurement, error) {
			m, err := connections(s, 8, p.window)
			m.Test = "home_conn"
			return m, err
		}},
		{"home_down", func(s *subject) (result.Measurement, error) { return homeBulk(s, 1, p.warm, p.window) }},
		{"home_down", func(s *subject) (result.Measurement, error) { return homeBulk(s, 8, p.warm, p.window) }},
	})
}

// requests measures small requests on flows open connections, and what each costs.
func requests(s *subject, flows int, warm, window time.Duration) (m result.Measurement, err error) {
	if _, err := latencies(s, flows, 0, warm); err != nil {
		return m, err
	}
	before, err := read(s, nil)
	if err != nil {
		return m, err
	}
	if m, err = latencies(s, flows, 0, window); err != nil {
		return m, err
	}
	after, err := read(s, nil)
	n := float64(m.Count)
	m.Test = "home_keepalive"
	m.PerS = n / after.at.Sub(before.at).Seconds()
	m.RelayCPUEach = float64((after.relay - before.relay).Microseconds()) / n
	m.RemoteCPUEach = float64((after.remote - before.remote).Microseconds()) / n
	return m, err
}

func homeBulk(s *subject, flows int, warm, window time.Duration) (result.Measurement, error) {
	m, err := bulk(s, false, flows, warm, window)
	m.Test = "home_down"
	return m, err
}

// atHome says why a program cannot be had, or nothing.
func atHome(what string) error {
	switch what {
	case programs:
		return nil
	case caddy:
		if _, err := exec.LookPath("caddy"); err != nil {
			return errors.New("Caddy is not installed (Debian: apt-get install caddy)") //nolint:staticcheck // a name
		}
	case nginx:
		if _, err := nginxPath(); err != nil {
			return errors.New("nginx is not installed (Debian: apt-get install nginx-light)")
		}
	}
	if _, err := haproxyPath(); err != nil {
		return errors.New("HAProxy is not installed (Debian: apt-get install haproxy)")
	}
	return nil
}

func nginxPath() (string, error) {
	if p, err := exec.LookPath("nginx"); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/nginx") // not in every user's PATH
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
	if what == programs {
		return s, b.startPrograms(s, web.Address)
	}
	port, err := freePort()
	if err != nil {
		return s, err
	}
	// Caddy keeps files in the user's folders, unless it is told of others.
	path, args, config := "env", []string{"XDG_CONFIG_HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir, "caddy", "run", "--adapter", "caddyfile", "--config"}, fmt.Sprintf(caddyConfig, name, port, b.cert.Cert, b.cert.Key, web.Address)
	if what == nginx {
		if path, err = nginxPath(); err != nil {
			return s, err
		}
		args, config = []string{"-p", s.dir, "-c"}, fmt.Sprintf(nginxConfig, s.dir, web.Address, port, name, b.cert.Cert, b.cert.Key)
	}
	file := filepath.Join(s.dir, what+".conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return s, err
	}
	if s.remote, err = b.group.Start(child.Options{}, path, append(args, file)...); err != nil {
		return s, err
	}
	s.own = append(s.own, s.remote)
	if s.relay, err = b.startHAProxy(s, "127.0.0.1:"+port); err != nil {
		return s, err
	}
	s.door.Address = s.relay.Address
	return s, b.awaitSite(s)
}

// startPrograms starts relay and remote.
func (b *bench) startPrograms(s *subject, service string) (err error) {
	if err := b.startRelay(s); err != nil {
		return err
	}
	s.door.Address = s.relay.Address
	s.remote, err = b.group.Start(child.Options{Ready: func(line string) (string, bool) {
		return "", strings.HasPrefix(line, "https://"+name)
	}}, filepath.Join(b.bin, "remote"), "--domain", name, "--local", "http://"+service, "--state-dir", filepath.Join(s.dir, "device"),
		"--relay", zone, "--relay-address", s.relay.Address, "--relay-root", b.cert.Cert, "--cert", b.cert.Cert, "--key", b.cert.Key, "--proxy", "none")
	if err != nil {
		return fmt.Errorf("%w (make bench builds the program first)", err)
	}
	s.own = append(s.own, s.remote)
	return b.awaitSite(s)
}

// awaitTime is how long a reverse proxy may take until it answers.
const awaitTime = 30 * time.Second

// awaitSite waits until the site answers.
func (b *bench) awaitSite(s *subject) error {
	for end := time.Now().Add(awaitTime); ; {
		err := visitOnce(s)
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

// freePort is for programs that take no open socket. Another one may be faster.
func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return portOf(ln.Addr().String()), nil
}
