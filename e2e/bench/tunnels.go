//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"keystay/e2e/bench/internal/child"
)

// A tunnel is another program of the kind, as -peers has it: one that visitors
// come to, and one at home that dials it.
type tunnel struct {
	name           string
	server, client tunnelEnd
	behind         string // what ends TLS at home: caddy, or "" for the client itself
	source         string // of the programs
}

// A tunnelEnd is one of its two programs. Arguments and the file are templates
// over tunnelSetup.
type tunnelEnd struct {
	binary string
	args   []string
	config string // what is in {{.Config}}; may be empty
}

// A tunnelSetup is what the two programs are told.
type tunnelSetup struct {
	Config          string // the file of configuration
	Control, Public string // ports of the server: for the client, for visitors
	Origin          string // the address that is published
	Name, Cert, Key string
}

// tunnels are those that are known, with the defaults of each.
func tunnels() []tunnel {
	return []tunnel{{
		name:   "frp",
		source: "github.com/fatedier/frp",
		server: tunnelEnd{"frps", []string{"-c", "{{.Config}}"}, `bindAddr = "127.0.0.1"
proxyBindAddr = "127.0.0.1"
bindPort = {{.Control}}
vhostHTTPSPort = {{.Public}}
`},
		client: tunnelEnd{"frpc", []string{"-c", "{{.Config}}"}, `serverAddr = "127.0.0.1"
serverPort = {{.Control}}

[[proxies]]
name = "site"
type = "https"
customDomains = ["{{.Name}}"]

[proxies.plugin]
type = "https2http"
localAddr = "{{.Origin}}"
crtPath = "{{.Cert}}"
keyPath = "{{.Key}}"
`},
	}, {
		name:   "chisel",
		source: "github.com/jpillora/chisel",
		behind: caddy,
		server: tunnelEnd{"chisel", []string{"server", "--host", "127.0.0.1", "--port", "{{.Control}}", "--reverse"}, ""},
		client: tunnelEnd{"chisel", []string{"client", "http://127.0.0.1:{{.Control}}", "R:127.0.0.1:{{.Public}}:{{.Origin}}"}, ""},
	}}
}

// tunnelPrograms are the names of all their programs.
func tunnelPrograms() string {
	var all []string
	for _, t := range tunnels() {
		all = append(all, t.server.binary, t.client.binary)
	}
	return strings.Join(slices.Compact(all), ", ")
}

// tunnelNamed returns a tunnel that is known, or nil.
func tunnelNamed(name string) *tunnel {
	for _, t := range tunnels() {
		if t.name == name {
			return &t
		}
	}
	return nil
}

// available says why the tunnel cannot be had from a folder, or nothing.
func (t *tunnel) available(folder string) error {
	if folder == "" {
		return errors.New("no folder of other tunnels' programs is given (make bench BENCH_PEERS=DIR)")
	}
	for _, e := range []tunnelEnd{t.server, t.client} {
		if _, err := exec.LookPath(filepath.Join(folder, e.binary)); err != nil {
			return fmt.Errorf("no program %s in %s (it is built from %s)", e.binary, folder, t.source)
		}
	}
	if t.behind != "" {
		return proxyAvailable(t.behind)
	}
	return nil
}

// startTunnel starts both ends, and what ends TLS at home where the client does
// not.
func (b *bench) startTunnel(s *subject, t *tunnel, service string) (err error) {
	setup := tunnelSetup{Origin: service, Name: name, Cert: b.cert.Cert, Key: b.cert.Key}
	if t.behind != "" {
		if setup.Origin, err = b.startProxy(s, t.behind, service); err != nil {
			return err
		}
	}
	for _, port := range []*string{&setup.Control, &setup.Public} {
		if *port, err = freePort(); err != nil {
			return err
		}
	}
	if s.relay, err = b.startEnd(s, t, t.server, setup); err != nil {
		return err
	}
	// Some clients end when the server is not there at once.
	if err := b.await(s, func() error { return dialled("127.0.0.1:" + setup.Control) }); err != nil {
		return err
	}
	client, err := b.startEnd(s, t, t.client, setup)
	if err != nil {
		return err
	}
	if t.behind == "" {
		s.remote = client
	} else {
		s.client = client
	}
	s.door.Address = "127.0.0.1:" + setup.Public
	return nil
}

// startEnd starts one end, and keeps for the reader what it was told.
func (b *bench) startEnd(s *subject, t *tunnel, e tunnelEnd, setup tunnelSetup) (*child.Process, error) {
	setup.Config = filepath.Join(s.dir, e.binary+".toml")
	args, config, err := e.fill(setup)
	if err != nil {
		return nil, err
	}
	if config != "" {
		if err := os.WriteFile(setup.Config, []byte(config), 0o600); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(b.peers, e.binary)
	version, err := exec.CommandContext(b.ctx, path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --version: %w", e.binary, err)
	}
	b.used = append(b.used, fmt.Sprintf("%s: %s, version %s: %s\n\n%s", t.name, e.binary, strings.TrimSpace(string(version)), strings.Join(args, " "), indented(config)))
	// frpc would take a proxy for the web for its own way.
	p, err := b.group.Start(child.Options{}, "env", append([]string{"-u", "http_proxy", path}, args...)...)
	if err != nil {
		return nil, err
	}
	s.own = append(s.own, p)
	return p, nil
}

// fill fills in the templates.
func (e *tunnelEnd) fill(setup tunnelSetup) (args []string, config string, err error) {
	filled := make([]string, 0, len(e.args)+1)
	for _, text := range append(e.args[:len(e.args):len(e.args)], e.config) {
		t, err := template.New(e.binary).Option("missingkey=error").Parse(text)
		if err != nil {
			return nil, "", err
		}
		var s strings.Builder
		if err := t.Execute(&s, setup); err != nil {
			return nil, "", err
		}
		filled = append(filled, s.String())
	}
	return filled[:len(e.args)], filled[len(e.args)], nil
}

// indented is a text as Markdown shows it in the words of a program.
func indented(text string) string {
	var s strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			line = "    " + line
		}
		s.WriteString(line)
	}
	return s.String()
}
