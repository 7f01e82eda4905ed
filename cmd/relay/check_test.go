package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/domainproof"
	"keystay/internal/testca"
	"keystay/relay/operator"
)

// healthy is a checker of a relay that runs, of which nothing is wrong.
func healthy(t *testing.T) *checker {
	t.Helper()
	now := time.Now()
	until := now.AddDate(0, 2, 0)
	c := &checker{cfg: &config.Relay{Domain: "relay.test", Listen: []string{":443"}, HTTPListen: []string{":80"}, StateDir: private(t)}}
	c.cfg.Names.Policy = "token"
	addr := netip.MustParseAddr("192.0.2.7")
	c.senses = senses{
		now: func() time.Time { return now },
		status: func(context.Context) (*operator.Status, error) {
			return &operator.Status{Ready: true, Version: "test", PID: 7, CertificateUntil: &until, Sockets: []operator.Socket{{For: "public", Addr: "[::]:443"}, {For: "http", Addr: "[::]:80"}}}, nil
		},
		resolvers: []resolver{{"", func(context.Context, string) (domainproof.Host, error) {
			return domainproof.Host{Addresses: []netip.Addr{addr}, Authenticated: true}, nil
		}, func(context.Context, string) (domainproof.CAA, error) { return domainproof.CAA{}, nil }}},
		addresses: func() []string { return []string{"192.0.2.7"} },
		directory: func(_ context.Context, url string) (directory, error) {
			return directory{url: "https://ca.test/", clock: now.Add(time.Second), names: []string{"ca.test"}}, nil
		},
		about:       func(context.Context, string) (string, error) { return "relay.test", nil },
		connects:    func(context.Context, string) error { return nil },
		descriptors: func(int) (int, bool) { return 1 << 20, true },
		sysctl: func(key string) (string, bool) {
			return map[string]string{"net.ipv4.tcp_slow_start_after_idle": "0"}[key], key == "net.ipv4.tcp_slow_start_after_idle"
		},
	}
	return c
}

// private is a folder that nobody else gets into.
func private(t *testing.T) string {
	dir := t.TempDir()
	os.Chmod(dir, 0o700)
	return dir
}

// steps are the findings of a checker in a state, as text.
func steps(c *checker, state string) (list []string) {
	for _, f := range c.all(context.Background()) {
		if f.State == state {
			list = append(list, strings.TrimSpace(f.Step+" "+f.About)+": "+f.Detail)
		}
		if f.State == cli.FoundWrong && len(f.Hints) == 0 {
			list = append(list, "no hint for "+f.Step)
		}
	}
	return list
}

// Of a relay that lacks nothing nothing is wrong.
func TestCheckOfAHealthyRelay(t *testing.T) {
	c := healthy(t)
	if wrong, notes := steps(c, cli.FoundWrong), steps(c, cli.FoundNote); len(wrong)+len(notes) > 0 {
		t.Errorf("wrong: %q, notes: %q", wrong, notes)
	}
	if fine := steps(c, cli.FoundOK); len(fine) < 13 {
		t.Errorf("only %q", fine)
	}
}

// Each thing that a relay needs is found when it is missing, alone, and with what to do.
func TestCheckFindsWhatIsMissing(t *testing.T) {
	host := func(own, below domainproof.Host) func(*checker) {
		return func(c *checker) {
			c.senses.resolvers[0].host = func(_ context.Context, name string) (domainproof.Host, error) {
				if name == c.cfg.Domain {
					return own, nil
				}
				return below, nil
			}
		}
	}
	one := domainproof.Host{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, Authenticated: true}
	both := domainproof.Host{Addresses: append(slices.Clone(one.Addresses), netip.MustParseAddr("2001:db8::7")), Authenticated: true}
	alias := one
	alias.Aliases = []string{"host.example.com"}
	unsigned := one
	unsigned.Authenticated = false
	issue := func(ca string) func(*checker) {
		return func(c *checker) {
			c.senses.resolvers[0].caa = func(context.Context, string) (domainproof.CAA, error) {
				return domainproof.CAA{At: "test", Issue: []domainproof.Issue{{CA: ca}}}, nil
			}
		}
	}
	running := func(change func(*operator.Status)) func(*checker) {
		return func(c *checker) {
			status := c.senses.status
			c.senses.status = func(ctx context.Context) (*operator.Status, error) {
				st, err := status(ctx)
				change(st)
				return st, err
			}
		}
	}
	for name, tt := range map[string]struct {
		spoil func(*checker)
		state string
		want  string
	}{
		"no address":        {host(domainproof.Host{}, one), cli.FoundWrong, "dns relay.test: it has no address"},
		"no wildcard":       {host(one, domainproof.Host{}), cli.FoundWrong, "wildcard *.relay.test: names below the domain lead nowhere"},
		"another wildcard":  {host(one, domainproof.Host{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.8")}}), cli.FoundWrong, "wildcard *.relay.test: names below the domain lead to 192.0.2.8"},
		"CNAME at the apex": {host(alias, one), cli.FoundWrong, "dns relay.test: it is a CNAME to host.example.com"},
		"CNAME below": {func(c *checker) {
			c.cfg.Domain = "r.relay.test"
			c.senses.about = says("r.relay.test")
			host(alias, one)(c)
		}, cli.FoundNote, "dns r.relay.test: it is a CNAME to host.example.com"},
		"unsigned": {host(unsigned, one), cli.FoundNote, "dnssec relay.test: no resolver has checked signatures of it"},
		"no resolver": {func(c *checker) {
			c.senses.resolvers[0].host = func(context.Context, string) (domainproof.Host, error) {
				return domainproof.Host{}, &domainproof.Error{Question: "the A records of relay.test", Why: "the DNS server does not answer"}
			}
		}, cli.FoundWrong, "dns relay.test: the A records of relay.test: the DNS server does not answer"},
		"AAAA without a listener": {func(c *checker) {
			c.cfg.Listen = []string{"0.0.0.0:443"}
			c.senses.addresses = func() []string { return texts(both.Addresses) }
			host(both, both)(c)
		}, cli.FoundWrong, "listen 2001:db8::7: DNS leads to it over IPv6, and nothing listens there"},
		"behind NAT": {func(c *checker) { c.senses.addresses = func() []string { return nil } }, cli.FoundNote, "reach 192.0.2.7: no interface of this machine has it"},
		"not reached": {func(c *checker) {
			c.senses.about = func(context.Context, string) (string, error) { return "", errors.New("connection refused") }
		}, cli.FoundWrong, "reach 192.0.2.7:443: connection refused"},
		"another relay":  {func(c *checker) { c.senses.about = says("other.test") }, cli.FoundWrong, `reach 192.0.2.7:443: the relay of "other.test" answers there`},
		"CAA":            {issue("other.test"), cli.FoundWrong, "caa relay.test: the CAA records at test let ca.test issue nothing"},
		"CAA for nobody": {issue(""), cli.FoundWrong, "caa relay.test: the CAA records at test let ca.test issue nothing"},
		"no CA": {func(c *checker) {
			c.senses.directory = func(context.Context, string) (directory, error) { return directory{url: "https://ca.test/"}, advised{} }
		}, cli.FoundWrong, "ca https://ca.test/: refused"},
		"clock": {func(c *checker) {
			now := c.senses.now()
			c.senses.now = func() time.Time { return now.Add(-time.Hour) }
		}, cli.FoundWrong, "clock: this machine's clock says "},
		"policy open": {func(c *checker) { c.cfg.Names.Policy = "open" }, cli.FoundNote, "psl relay.test: it is not on the Public Suffix List"},
		"not ready":   {running(func(st *operator.Status) { st.Ready, st.Why = false, "names.db is damaged" }), cli.FoundWrong, "ready: names.db is damaged"},
		"no socket":   {running(func(st *operator.Status) { st.Sockets = st.Sockets[:1] }), cli.FoundNote, "listen http :80: the relay that runs does not listen there"},
		"expired":     {running(func(st *operator.Status) { then := time.Now().Add(-time.Hour); st.CertificateUntil = &then }), cli.FoundWrong, "certificate relay.test: it has expired on "},
		"ends soon":   {running(func(st *operator.Status) { then := time.Now().Add(50 * time.Hour); st.CertificateUntil = &then }), cli.FoundWrong, "certificate relay.test: it ends in "},
		"descriptors": {func(c *checker) { c.senses.descriptors = func(int) (int, bool) { return 1024, true } }, cli.FoundWrong, "descriptors of the relay that runs: 1024 may be open"},
		"kernel": {func(c *checker) {
			c.senses.sysctl = func(key string) (string, bool) { return "128", key == "net.core.somaxconn" }
		}, cli.FoundNote, "kernel net.core.somaxconn: it is 128, and 4096 is better"},
		"memory": {func(c *checker) { c.cfg.Memory = 1 << 60 }, cli.FoundWrong, "memory: memory is "},
		"server": {func(c *checker) {
			c.cfg.Fallback.To = "127.0.0.1:1"
			c.senses.connects = func(context.Context, string) error { return errors.New("refused") }
		}, cli.FoundWrong, "fallback 127.0.0.1:1: refused"},
		"sibling that is away": {sibling(siblingSays{}, errors.New("refused")), cli.FoundWrong, "sibling b.test: refused"},
		"another sibling":      {sibling(siblingSays{Domain: "c.test", Siblings: []string{"relay.test"}}, nil), cli.FoundWrong, `sibling b.test: the relay of "c.test" answers at b.test:443`},
		"sibling of others":    {sibling(siblingSays{Domain: "b.test", Siblings: []string{"c.test"}}, nil), cli.FoundWrong, "sibling b.test: it does not list this relay"},
		"sibling":              {sibling(siblingSays{Domain: "b.test", Siblings: []string{"c.test", "relay.test"}}, nil), cli.FoundOK, "sibling b.test: it answers"},
		"not for us": {func(c *checker) {
			c.senses.status = func(context.Context) (*operator.Status, error) { return nil, fs.ErrPermission }
		}, cli.FoundNote, "control: who may ask the relay"},
		"warning": {func(c *checker) { c.warnings = []config.Warning{{Key: "log.level", Message: "debug"}} }, cli.FoundNote, "configuration log.level: debug"},
		"state is a file": {func(c *checker) {
			c.cfg.StateDir = filepath.Join(c.cfg.StateDir, "f")
			os.WriteFile(c.cfg.StateDir, nil, 0o600)
		}, cli.FoundWrong, "state "},
		"state for others": {func(c *checker) { os.Chmod(c.cfg.StateDir, 0o777) }, cli.FoundWrong, "state "},
	} {
		t.Run(name, func(t *testing.T) {
			c := healthy(t)
			tt.spoil(c)
			got := steps(c, tt.state)
			if tt.state == cli.FoundOK { // it is one of many
				got = slices.DeleteFunc(got, func(f string) bool { return !strings.HasPrefix(f, tt.want) })
			}
			if len(got) != 1 && name != "not for us" || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			if wrong := steps(c, cli.FoundWrong); tt.state != cli.FoundWrong && name != "not for us" && len(wrong) > 0 {
				t.Errorf("wrong: %q", wrong)
			}
		})
	}
}

// sibling has a relay with one sibling, which says so when it is asked.
func sibling(says siblingSays, err error) func(*checker) {
	return func(c *checker) {
		c.cfg.Siblings = []config.Sibling{{Name: "b.test", Dial: "b.test:443"}}
		c.senses.sibling = func(context.Context, config.Sibling) (siblingSays, error) { return says, err }
	}
}

func says(domain string) func(context.Context, string) (string, error) {
	return func(context.Context, string) (string, error) { return domain, nil }
}

// advised is an error with a hint.
type advised struct{}

func (advised) Error() string   { return "refused" }
func (advised) Hints() []string { return []string{"let it through"} }

// Before the first start, what is made then is not missed, and ports are tried; a record
// that is damaged is found.
func TestCheckBeforeAStart(t *testing.T) {
	c := healthy(t)
	c.senses.status = func(context.Context) (*operator.Status, error) { return nil, fs.ErrNotExist }
	taken := open(t, "public", "", false)
	c.cfg.Listen, c.cfg.HTTPListen = []string{taken.ln.Addr().String()}, []string{"127.0.0.1:0"}
	c.cfg.StateDir = filepath.Join(t.TempDir(), "none")
	wrong := steps(c, cli.FoundWrong)
	if len(wrong) != 1 || !strings.HasPrefix(wrong[0], "listen public 127.0.0.1:") || !strings.Contains(wrong[0], "in use") {
		t.Errorf("wrong: %q", wrong)
	}
	if later := strings.Join(steps(c, cli.FoundNotRun), "\n"); strings.Count(later, "at the start") != 2 {
		t.Errorf("not run: %s", later)
	}
	c.cfg.StateDir, c.cfg.Listen = private(t), []string{"127.0.0.1:0"}
	os.WriteFile(filepath.Join(c.cfg.StateDir, "names.db"), []byte("nonsense"), 0o600)
	if wrong := steps(c, cli.FoundWrong); len(wrong) != 1 || !strings.Contains(wrong[0], "the record of names is damaged") {
		t.Errorf("wrong: %q", wrong)
	}
}

// A certificate in files is read as a start does.
func TestCheckReadsTheCertificatesFiles(t *testing.T) {
	c := healthy(t)
	ca := testca.New(t)
	write := func(name string) {
		cert, key := ca.Files(t.TempDir(), name)
		c.cfg.TLS = config.TLS{CertFile: cert, KeyFile: key}
	}
	write("relay.test")
	if wrong := steps(c, cli.FoundWrong); len(wrong) > 0 {
		t.Errorf("wrong: %q", wrong)
	}
	write("other.test")
	if wrong := steps(c, cli.FoundWrong); len(wrong) != 1 || !strings.HasPrefix(wrong[0], "certificate ") {
		t.Errorf("wrong: %q", wrong)
	}
}

// The command says mistakes of the file as findings, and by its exit code.
func TestCheckOfAFileWithMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "relay.yaml")
	os.WriteFile(file, []byte("domain: relay.test\nlisen: []\n"), 0o600)
	for _, args := range [][]string{{"check", "--config", file}, {"check", "--config", file, "--json"}} {
		var out, log bytes.Buffer
		cmd := command()
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		cmd.SetErr(&log)
		if code := cli.Main(cmd); code != cli.ExitUsage {
			t.Errorf("exit code %d", code)
		}
		if text := out.String(); !strings.Contains(text, `relay.yaml:2: unknown key`) || !strings.Contains(text, "did you mean") {
			t.Errorf("%v: %s", args, text)
		}
	}
}
