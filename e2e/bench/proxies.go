//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"keystay/e2e/bench/internal/child"
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

// proxyAvailable says why a reverse proxy cannot be had, or nothing.
func proxyAvailable(what string) error {
	switch what {
	case caddy:
		if _, err := exec.LookPath("caddy"); err != nil {
			return errors.New("Caddy is not installed (Debian: apt-get install caddy)") //nolint:staticcheck // a name
		}
	case nginx:
		if _, err := nginxPath(); err != nil {
			return errors.New("nginx is not installed (Debian: apt-get install nginx-light)")
		}
	}
	return nil
}

func nginxPath() (string, error) {
	if p, err := exec.LookPath("nginx"); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/nginx") // not in every user's PATH
}

// startProxy starts a reverse proxy that ends TLS before a service, and returns
// its address. It is the subject's remote.
func (b *bench) startProxy(s *subject, what, service string) (address string, err error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	// Caddy keeps files in the user's folders, unless it is told of others.
	path, args, config := "env", []string{"XDG_CONFIG_HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir, "caddy", "run", "--adapter", "caddyfile", "--config"},
		fmt.Sprintf(caddyConfig, name, port, b.cert.Cert, b.cert.Key, service)
	if what == nginx {
		if path, err = nginxPath(); err != nil {
			return "", err
		}
		args, config = []string{"-p", s.dir, "-c"}, fmt.Sprintf(nginxConfig, s.dir, service, port, name, b.cert.Cert, b.cert.Key)
	}
	file := filepath.Join(s.dir, what+".conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", err
	}
	if s.remote, err = b.group.Start(child.Options{}, path, append(args, file)...); err != nil {
		return "", err
	}
	s.own = append(s.own, s.remote)
	return "127.0.0.1:" + port, nil
}
