package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"keystay/config"
)

// The ports are read as a range or as one, in quotes or without.
func TestTCPPortsAreARange(t *testing.T) {
	for written, want := range map[string]config.PortRange{
		`"20000-20999"`: {First: 20000, Last: 20999}, "20000-20999": {First: 20000, Last: 20999}, "20022": {First: 20022, Last: 20022},
		`" 1024 - 65535 "`: {First: 1024, Last: 65535}, `""`: {},
	} {
		inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nadmin: {listen: \"\"}\ntcp_ports: " + written + "\n"})
		r, _, err := loadRelay(t, "--config", "relay.yaml")
		if err != nil || r.TCPPorts != want {
			t.Errorf("%s: %+v, %v", written, r, err)
		}
	}
}

// A range that is none, that has ports of the system, or one on which the relay listens
// by itself, is a mistake.
func TestWrongTCPPortsAreMistakes(t *testing.T) {
	const before = "relay.yaml:3: tcp_ports: "
	for written, want := range map[string]string{
		"many":            before + "\"many\" is no range of ports\nhint: as in tcp_ports: \"20000-20999\"",
		"20000-":          before + "\"20000-\" is no range of ports\nhint: as in tcp_ports: \"20000-20999\"",
		"20000-70000":     before + "\"20000-70000\" is no range of ports\nhint: as in tcp_ports: \"20000-20999\"",
		"1-2-3":           before + "\"1-2-3\" is no range of ports\nhint: as in tcp_ports: \"20000-20999\"",
		"20999-20000":     before + "\"20999-20000\" ends before it begins\nhint: did you mean \"20000-20999\"?",
		"0-20000":         before + "\"0-20000\" has ports below 1024, which are for services of the system\nhint: as in tcp_ports: \"20000-20999\"",
		"1000-1100":       before + "\"1000-1100\" has ports below 1024, which are for services of the system\nhint: as in tcp_ports: \"20000-20999\"",
		"9000-9999":       before + "\"9000-9999\" has port 9440, which is the one of admin.listen\nhint: take other ports, or change admin.listen",
		"8400-8443":       before + "\"8400-8443\" has port 8443, which is the one of listen[0]\nhint: take other ports, or change listen[0]",
		"[20000]":         "relay.yaml:3: tcp_ports must be text, it is a list\nhint: take the brackets away",
		"8080":            before + "\"8080\" has port 8080, which is the one of http_listen[0]\nhint: take other ports, or change http_listen[0]",
		"\"20000,20001\"": before + "\"20000,20001\" is no range of ports\nhint: as in tcp_ports: \"20000-20999\"",
	} {
		inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nlisten: [\"127.0.0.1:8443\"]\ntcp_ports: " + written + "\nhttp_listen: [\":8080\"]\n"})
		_, _, err := loadRelay(t, "--config", "relay.yaml")
		wantText(t, err, want)
	}
}

// A port at which the relay asks or leads to a server of this machine is not given out: while
// that server is down, a device could have it, and be taken for it.
func TestTCPPortsAreNotThoseOfServersOfThisMachine(t *testing.T) {
	const hint = "\nhint: take other ports, or change "
	for written, want := range map[string]string{
		"static: [{name: www.relay.test, to: 127.0.0.1:20100}]":                           `has port 20100, which is the one of static[0].to` + hint + "static[0].to",
		"static: [{name: www.relay.test, to: 127.0.0.1:8443, http: \"localhost:20101\"}]": `has port 20101, which is the one of static[0].http` + hint + "static[0].http",
		"fallback: {to: \"[::1]:20102\"}":                                                 `has port 20102, which is the one of fallback.to` + hint + "fallback.to",
		"names: {webhook: {url: \"http://127.0.0.1:20103/ask\"}}":                         `has port 20103, which is the one of names.webhook.url` + hint + "names.webhook.url",
		"static: [{name: www.relay.test, to: 192.0.2.7:20100}]":                           "",
		"fallback: {to: \"127.0.0.1:19999\"}":                                             "",
	} {
		inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nlisten: [\":443\"]\ntcp_ports: 20000-20999\n" + written + "\n"})
		_, _, err := loadRelay(t, "--config", "relay.yaml")
		if want != "" {
			want = "relay.yaml:3: tcp_ports: \"20000-20999\" " + want
		}
		if (err != nil) != (want != "") || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %v, want %q", written, err, want)
		}
	}
	inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nlisten: [\"192.0.2.1:443\"]\ntcp_ports: 20000-20999\nfallback: {to: \"127.0.0.1:20100\"}\n"})
	if _, _, err := loadRelay(t, "--config", "relay.yaml"); err != nil {
		t.Errorf("of a server at an address at which no port is listened on: %v", err)
	}
}

// Ports that the system gives to outgoing connections are warned of.
func TestEphemeralTCPPortsAreWarnedOf(t *testing.T) {
	for ports, warned := range map[string]bool{"20000-20999": false, "20000-32768": true, "60999": true, "61000-61999": false} {
		t.Setenv("KEYSTAY_RELAY_TCP_PORTS", ports)
		clean := func(w config.Warning) bool { return w.Key == "tcp_ports" && len(w.Hints) > 0 }
		_, warnings, err := loadRelay(t, "--domain", "relay.test")
		if err != nil || slices.ContainsFunc(warnings, clean) != warned {
			t.Errorf("%s: %q, %v", ports, warnings, err)
		}
	}
}

func FuzzTCPPorts(f *testing.F) {
	for _, s := range []string{"20000-20999", "20022", "", "1-2-3", "-", "65535-65535", "+1024-2048"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsRune(s, 0) {
			return // no variable has one
		}
		t.Setenv("KEYSTAY_RELAY_TCP_PORTS", s)
		r, _, err := loadRelay(t, "--domain", "relay.test")
		if err == nil && r.TCPPorts != (config.PortRange{}) && (r.TCPPorts.First < 1024 || r.TCPPorts.Last < r.TCPPorts.First) {
			t.Errorf("%q was read as %+v", s, r.TCPPorts)
		}
	})
}
