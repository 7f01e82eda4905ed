package config_test

import (
	"fmt"
	"strings"
	"testing"

	"keystay/config"
)

// shownPorts are the services of a configuration, short.
func shownPorts(r *config.Remote) string {
	var all []string
	for _, s := range r.Services {
		switch {
		case s.Port != 0:
			all = append(all, fmt.Sprintf("%d=%s %v%v p%d", s.Port, s.Raw, s.Relays, s.RelayAddresses, s.ProxyProtocol))
		default:
			all = append(all, fmt.Sprintf("%v%q", s.Domains, s.Words))
		}
	}
	return strings.Join(all, "; ")
}

// A TCP port is a service of its own, beside those with names, each --tcp one more.
func TestTCPPortsByFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--tcp 22", "22=tcp://127.0.0.1:22 [][] p0"},
		{"--tcp 22 --tcp 10.0.0.2:5432", "22=tcp://127.0.0.1:22 [][] p0; 5432=tcp://10.0.0.2:5432 [][] p0"},
		{"--tcp tcp://host:22", "22=tcp://host:22 [][] p0"},
		{"3000 --tcp 22", "[][\"\"]; 22=tcp://127.0.0.1:22 [][] p0"},
		{"--local 3000 --domain a.relay.test --tcp 22", "[a.relay.test][]; 22=tcp://127.0.0.1:22 [][] p0"},
		{"--tcp 22 --relay a.test,b.test", "22=tcp://127.0.0.1:22 [a.test][] p0; 22=tcp://127.0.0.1:22 [b.test][] p0"},
		{"--tcp 22 --relay a.test,b.test --relay-address 192.0.2.1:1,192.0.2.2:1", "22=tcp://127.0.0.1:22 [a.test][192.0.2.1:1] p0; 22=tcp://127.0.0.1:22 [b.test][192.0.2.2:1] p0"},
	} {
		inFolder(t, nil)
		r, _, err := loadRemote(t, strings.Fields(c.args)...)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		if got := shownPorts(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.args, got, c.want)
		}
	}
}

// In the file a TCP port may ask for another number, tell its service who visits, and say
// for whom it is.
func TestTCPPortsInAFile(t *testing.T) {
	inFolder(t, map[string]string{"remote.yaml": `relay: relay.test
services:
  - {tcp: 22, proxy_protocol: 1, allow: [192.0.2.0/24]}
  - {tcp: "10.0.0.2:22", tcp_port: 2222, relay: other.test}
  - {domain: a.relay.test, local: 3000}
`})
	r, _, err := loadRemote(t, "--config", "remote.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := shownPorts(r), "22=tcp://127.0.0.1:22 [][] p1; 2222=tcp://10.0.0.2:22 [other.test][] p0; [a.relay.test][]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if len(r.Services[0].Allow) != 1 {
		t.Errorf("it is for %v", r.Services[0].Allow)
	}
}

// What a TCP port cannot have is a mistake, and so is a number that is asked for twice.
func TestWrongTCPServicesAreMistakes(t *testing.T) {
	const (
		two    = "a name leads to a service of its own: services: [{tcp: 22}, {domain: …, local: 3000}]"
		both   = "a TCP port and a name are two services: services: [{tcp: 22}, {domain: …, local: 3000}]"
		before = "remote.yaml:1: services[0]."
	)
	for service, want := range map[string]string{
		"{tcp: 22, domain: a.relay.test}":                before + "domain: a TCP port has no name\nhint: " + two,
		"{tcp: 22, name: x}":                             before + "name: a TCP port has no name\nhint: " + two,
		"{tcp: 22, local: 3000}":                         before + "local: there is tcp too\nhint: " + both,
		"{tcp: 22, alpn: [{protocols: [x], local: 22}]}": before + "alpn: there is tcp too\nhint: " + both,
		"{tcp: 22, spa: true}":                           before + "spa: has no effect on a TCP port, whose bytes are passed on as they are\nhint: take it out",
		"{tcp: 22, gate: {links: true}}":                 before + "gate: has no effect on tcp://127.0.0.1:22, whose bytes are passed on as they are\nhint: allow and deny say from which addresses visitors may come",
		"{tcp: ssh}":                                     before + "tcp: \"ssh\" has no port\nhint: as in tcp: 22, or host:22",
		"{tcp: [\"22\", \"23\"]}":                        before + "tcp: one is enough\nhint: each TCP port is a service of its own: services: [{tcp: 22}, {tcp: 5432}]",
		"{tcp: 22, tcp_port: many}":                      before + "tcp_port: \"many\" is no port\nhint: a number from 1 to 65535; the relay gives that one, or one that ends alike",
		"{local: 3000, tcp_port: 22}":                    before + "tcp_port: there is no tcp beside it\nhint: as in tcp: 22, or host:22",
		"{tcp: 22}, {tcp: \"host:22\"}":                  "remote.yaml:1: services[1].tcp: the TCP port 22 is asked for twice\nhint: ask for another one: services: [{tcp: host:22, tcp_port: 1022}]",
	} {
		inFolder(t, map[string]string{"remote.yaml": "services: [" + service + "]\n"})
		_, _, err := loadRemote(t, "--config", "remote.yaml")
		wantText(t, err, want)
	}
	inFolder(t, nil)
	_, _, err := loadRemote(t, "--tcp", "ssh")
	wantText(t, err, "--tcp: \"ssh\" has no port\nhint: as in --tcp 22, or --tcp host:22")
	_, _, err = loadRemote(t, "--tcp", "22", "--domain", "a.relay.test")
	wantText(t, err, "--domain: a TCP port has no name\nhint: add --local for the name, or leave --domain out")
	_, _, err = loadRemote(t, "--tcp", "22", "--name", "a")
	wantText(t, err, "--name: a TCP port has no name\nhint: add --local for the name, or leave --name out")
	_, _, err = loadRemote(t, "--tcp", "22", "--host-header", "target")
	wantText(t, err, "--host-header: has no effect on a TCP port, whose bytes are passed on as they are\nhint: take it out")
	_, _, err = loadRemote(t, "--tcp", "22", "--auth", "me:"+hash)
	wantText(t, err, "--auth: has no effect on tcp://127.0.0.1:22, whose bytes are passed on as they are\nhint: allow and deny say from which addresses visitors may come")
}

func FuzzTCPService(f *testing.F) {
	for _, s := range []string{"22", ":22", "host:22", "tcp://[::1]:22", "0", "65536", "host", "a:b:c", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, _, err := loadRemote(t, "--tcp", s)
		if err == nil && (len(r.Services) != 1 || r.Services[0].Port == 0 || r.Services[0].Raw == nil) {
			t.Errorf("%q was read as %s", s, shownPorts(r))
		}
	})
}
