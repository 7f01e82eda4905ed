package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"keystay/config"
)

// loadLimits returns what a file says below limits.
func loadLimits(t *testing.T, file string) (config.Limits, error) {
	t.Helper()
	inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\n" + file})
	t.Setenv("KEYSTAY_RELAY_CONFIG", "relay.yaml")
	r, _, err := config.LoadRelay(nil)
	if err != nil {
		return config.Limits{}, err
	}
	return r.Limits, nil
}

// Each key below limits sets the field that it says, and no other.
func TestLimits(t *testing.T) {
	second := func(n int) config.Rate { return config.Rate{Count: n, Per: time.Second} }
	day := func(n int) config.Rate { return config.Rate{Count: n, Per: 24 * time.Hour} }
	want := config.Limits{
		Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Address: config.AddressLimits{Connections: 2048, ConnectionRate: second(100), Hellos: 1024, Links: 2048,
			LinkRate: second(20), Identities: day(500), Names: day(200), Domains: config.Rate{Count: 60, Per: time.Minute}},
		Identity: config.OwnerLimits{Names: 32, Ports: 4, Streams: 16384, ConnectionRate: second(4000), Bandwidth: 64 << 20, BytesPerMonth: 1 << 40},
		Name:     config.OwnerLimits{Streams: 8192, ConnectionRate: second(2000), Bandwidth: 32 << 20, BytesPerMonth: -1},
	}
	same := func(what string, got config.Limits) {
		t.Helper()
		if len(got.Exempt) != len(want.Exempt) || len(got.Exempt) > 0 && got.Exempt[0] != want.Exempt[0] {
			t.Errorf("%s: exempt are %v, want %v", what, got.Exempt, want.Exempt)
		}
		got.Exempt = nil
		was := want
		was.Exempt = nil
		if got.Address != was.Address || got.Identity != was.Identity || got.Name != was.Name {
			t.Errorf("%s: got %+v, want %+v", what, got, was)
		}
	}
	load := func(file string) config.Limits {
		t.Helper()
		l, err := loadLimits(t, file)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	same("defaults", load(""))
	open := want
	want.Identity.Bandwidth, want.Identity.BytesPerMonth, want.Name.Bandwidth = -1, -1, -1
	same("closed", load("names: {policy: closed}\n"))
	want = open
	keys := 0
	for key, c := range map[string]struct {
		value string
		set   func(*config.Limits)
	}{
		"address.connections":      {"7", func(l *config.Limits) { l.Address.Connections = 7 }},
		"address.connection_rate":  {"7/min", func(l *config.Limits) { l.Address.ConnectionRate = config.Rate{Count: 7, Per: time.Minute} }},
		"address.hellos":           {"off", func(l *config.Limits) { l.Address.Hellos = -1 }},
		"address.links":            {"7", func(l *config.Limits) { l.Address.Links = 7 }},
		"address.link_rate":        {"off", func(l *config.Limits) { l.Address.LinkRate = second(-1) }},
		"address.identities":       {"7/h", func(l *config.Limits) { l.Address.Identities = config.Rate{Count: 7, Per: time.Hour} }},
		"address.names":            {"7/day", func(l *config.Limits) { l.Address.Names = day(7) }},
		"address.domains":          {"7/h", func(l *config.Limits) { l.Address.Domains = config.Rate{Count: 7, Per: time.Hour} }},
		"identity.names":           {"7", func(l *config.Limits) { l.Identity.Names = 7 }},
		"identity.ports":           {"7", func(l *config.Limits) { l.Identity.Ports = 7 }},
		"identity.streams":         {"7", func(l *config.Limits) { l.Identity.Streams = 7 }},
		"identity.connection_rate": {"7/s", func(l *config.Limits) { l.Identity.ConnectionRate = second(7) }},
		"identity.bandwidth":       {"7MiB/s", func(l *config.Limits) { l.Identity.Bandwidth = 7 << 20 }},
		"identity.bytes_per_month": {"off", func(l *config.Limits) { l.Identity.BytesPerMonth = -1 }},
		"name.streams":             {"off", func(l *config.Limits) { l.Name.Streams = -1 }},
		"name.connection_rate":     {"off", func(l *config.Limits) { l.Name.ConnectionRate = second(-1) }},
		"name.bandwidth":           {"off", func(l *config.Limits) { l.Name.Bandwidth = -1 }},
		"name.bytes_per_month":     {"500GiB", func(l *config.Limits) { l.Name.BytesPerMonth = 500 << 30 }},
		"exempt":                   {"[]", func(l *config.Limits) { l.Exempt = nil }},
	} {
		want = open
		c.set(&want)
		words := strings.Split(key, ".")
		same(key, load("limits: {"+strings.Join(words, ": {")+": "+c.value+strings.Repeat("}", len(words))+"\n"))
		keys++
	}
	for _, k := range config.RelayKeys() {
		if strings.HasPrefix(k.Name, "limits.") {
			keys--
		}
	}
	if keys != 0 {
		t.Errorf("%d keys are not tested", -keys)
	}
}

// What is wrong below limits is said with its line and an example.
func TestWrongLimits(t *testing.T) {
	for file, want := range map[string]string{
		"limits: {address: {connections: 0}}\n":           "relay.yaml:2: limits.address.connections: \"0\" is too little: 1 at least, or off for no limit\nhint: a number, as in 1000, or off",
		"limits: {address: {connection_rate: 50}}\n":      "relay.yaml:2: limits.address.connection_rate must be text, it is a number\nhint: a number and its unit, as in \"50/s\"",
		"limits: {address: {link_rate: \"50\"}}\n":        "relay.yaml:2: limits.address.link_rate: \"50\" has no time: /s, /min, /h or /day\nhint: as in 50/s, 20/min or 200/day, or off",
		"limits: {name: {connection_rate: 50/min}}\n":     "relay.yaml:2: limits.name.connection_rate: \"50/min\" is not by the second\nhint: as in 50/s, or off",
		"limits: {name: {bandwidth: 10MiB}}\n":            "relay.yaml:2: limits.name.bandwidth: \"10MiB\" is no bandwidth: bytes with /s behind them\nhint: as in 10MiB/s, or off",
		"limits: {name: {bandwidth: 1KiB/s}}\n":           "relay.yaml:2: limits.name.bandwidth: \"1KiB/s\" is too little: 16KiB at least, or off for no limit\nhint: as in 10MiB/s, or off",
		"limits: {identity: {bytes_per_month: 5GB}}\n":    "relay.yaml:2: limits.identity.bytes_per_month: \"5GB\" is no amount of bytes, and not off\nhint: as in 500GiB, or off",
		"limits: {identity: {names: off}}\n":              "relay.yaml:2: limits.identity.names: an identity cannot have names without end\nhint: a number, as in 32",
		"limits: {identity: {ports: off}}\n":              "relay.yaml:2: limits.identity.ports: an identity cannot have ports without end\nhint: a number, as in 4",
		"limits: {identity: {adress: 1}}\n":               "relay.yaml:2: unknown key \"adress\"\nhint: known here: names, ports, streams, connection_rate, bandwidth, bytes_per_month",
		"limits: {exempt: [10.0.0.1/8]}\n":                "relay.yaml:2: limits.exempt[0]: \"10.0.0.1/8\" has bits behind its length\nhint: did you mean \"10.0.0.0/8\", or \"10.0.0.1\"?",
		"limits: {exempt: [127.0.0.1, proxy.internal]}\n": "relay.yaml:2: limits.exempt[1]: \"proxy.internal\" is no address and no range\nhint: as in 192.0.2.1 or 10.0.0.0/8",
	} {
		if _, err := loadLimits(t, file); err == nil || err.Error() != want {
			t.Errorf("%s:\n%v\nwant\n%s", file, err, want)
		}
	}
}
