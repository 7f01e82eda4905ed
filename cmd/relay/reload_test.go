package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/relay"
	"keystay/relay/names"
	"keystay/relay/operator/page"
)

// running returns a process that runs with the configuration in file, and its log.
func running(t *testing.T, file string) (*process, *bytes.Buffer) {
	t.Helper()
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(fs)
	if err := fs.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	p := &process{file: config.RelayFile(fs), level: new(slog.LevelVar), cert: &ownCert{}}
	p.load = func() (*config.Relay, []config.Setting, []config.Warning, error) { return config.ReadRelay(fs) }
	var err error
	if p.cfg, p.settings, _, err = p.load(); err != nil {
		t.Fatal(err)
	}
	p.log = slog.New(slog.NewTextHandler(&log, nil))
	p.page = new(page.Page)
	p.srv = &relay.Server{Names: &names.Names{Rules: rules(p.cfg, p.cfg.Tokens)}}
	return p, &log
}

// write puts text into a file of dir, with mode 0600, and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// inEffectOf returns the value of a key that is in effect, and where it was said.
func inEffectOf(p *process, key string) (value, from string) {
	for _, s := range p.inEffect().Settings {
		if s.Key == key {
			return s.Value, s.From
		}
	}
	return "", ""
}

// SIGHUP takes the tokens that a start would take, and warns as a start warns.
func TestReloadChecksTokensAsAStartDoes(t *testing.T) {
	const good, other = "0123456789abcdef", "fedcba9876543210"
	for name, c := range map[string]struct {
		a, b  string
		mode  os.FileMode
		taken bool
		log   []string // parts of it
	}{
		"two good ones":         {good, other, 0o600, true, []string{"tokens reloaded"}},
		"one of a single byte":  {"x", other, 0o600, false, []string{"a token of 1 bytes can be guessed", "openssl rand -hex 24"}},
		"an empty file":         {"", other, 0o600, false, []string{"the file is empty", "openssl rand -hex 24"}},
		"two lines":             {good + "\nx", other, 0o600, false, []string{"one line of text", "hint="}},
		"the same in two files": {good, good, 0o600, false, []string{"the same secret as tokens[0] has", "key=tokens[1].secret_file", "list all the names"}},
		"a short one":           {"12345678", other, 0o600, true, []string{"level=WARN", "is short and may be guessed", "tokens reloaded"}},
		"one open to everybody": {good, other, 0o644, true, []string{"level=WARN", "every user of this machine can read or write ", "chmod 600 ", "tokens reloaded"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := write(t, dir, "a", "aaaaaaaaaaaaaaaa")
			write(t, dir, "b", "bbbbbbbbbbbbbbbb")
			p, log := running(t, write(t, dir, "relay.yaml", `domain: relay.test
names: {policy: token}
tokens: [{secret_file: a, names: ["*.relay.test"]}, {secret_file: b, names: ["*.relay.test"]}]
`))
			write(t, dir, "a", c.a)
			write(t, dir, "b", c.b)
			if err := os.Chmod(a, c.mode); err != nil {
				t.Fatal(err)
			}
			p.reload()
			if taken := strings.Contains(log.String(), "tokens reloaded"); taken != c.taken {
				t.Errorf("taken %v, want %v", taken, c.taken)
			}
			if refused := strings.Contains(log.String(), "level=ERROR msg=\"the configuration is not reloaded; the one from before is in use\""); refused == c.taken {
				t.Errorf("refused %v", refused)
			}
			want := "aaaaaaaaaaaaaaaa"
			if c.taken {
				want = c.a
			}
			if got := p.srv.Names.InForce().Tokens[0].Secret; got != want {
				t.Errorf("the token in force is %q, want %q", got, want)
			}
			for _, part := range c.log {
				if !strings.Contains(log.String(), part) {
					t.Errorf("no %q in\n%s", part, log)
				}
			}
		})
	}
}

// A reload takes up what can change, and says of the rest that it stays; what the
// operator is shown is what is in effect.
func TestReloadTakesUpWhatCanChange(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "relay.yaml", "domain: relay.test\nlanes: auto\nnames: {policy: open}\n")
	p, log := running(t, file)
	write(t, dir, "relay.yaml", "domain: relay.test\nlanes: \"off\"\nnames: {policy: closed, reserved: [shop]}\nlog: {level: debug}\ndrain_timeout: 1m\n")
	p.reload()
	r := p.srv.Names.InForce()
	if r.Policy != names.Closed || !slices.Equal(r.Reserved, []string{"shop"}) || p.level.Level() != slog.LevelDebug || p.now().cfg.DrainTimeout != time.Minute {
		t.Errorf("in force: %+v, %v, %v", r, p.level.Level(), p.now().cfg.DrainTimeout)
	}
	if p.now().cfg.Lanes != "auto" {
		t.Error("lanes have changed")
	}
	for key, want := range map[string][2]string{
		"names.policy": {"closed", file}, "lanes": {"auto", file}, "drain_timeout": {"1m", file}, "http_listen": {":80", "default"},
	} {
		if value, from := inEffectOf(p, key); value != want[0] || from != want[1] {
			t.Errorf("%s is shown as %q, said by %q", key, value, from)
		}
	}
	for _, part := range []string{
		`level=WARN msg="a setting that has changed takes a restart, or a takeover; its old value stays" key=lanes`, "line=2",
		`msg="configuration reloaded" changed="names.policy names.reserved log.level drain_timeout"`,
	} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("no %q in\n%s", part, log)
		}
	}
}

// A mistake keeps all that is in effect, and is told with its line.
func TestReloadOfAMistakeChangesNothing(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "relay.yaml", "domain: relay.test\n")
	p, log := running(t, file)
	write(t, dir, "relay.yaml", "domain: relay.test\nnames: {policy: closed}\nlisten: [\"\"]\nlgo: {level: debug}\n")
	p.reload()
	if r := p.srv.Names.InForce(); r.Policy != names.Open || p.now().settings[0] != p.settings[0] {
		t.Errorf("in force: %+v", r)
	}
	for _, part := range []string{file + ":4: unknown key", `did you mean`, file + ":3: "} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("no %q in\n%s", part, log)
		}
	}
	if strings.Contains(log.String(), "configuration reloaded") {
		t.Errorf("it says that it is reloaded:\n%s", log)
	}
}

// Each key that is live is one of the file.
func TestLiveSettingsAreKeys(t *testing.T) {
	for _, l := range live {
		if !slices.ContainsFunc(config.RelayKeys(), func(k config.Key) bool {
			return k.Name == strings.TrimSuffix(l.key, "[") || strings.HasSuffix(l.key, ".") && strings.HasPrefix(k.Name, l.key)
		}) {
			t.Errorf("no key %s", l.key)
		}
	}
}

// A change of the file is taken up however it is made, and once.
func TestChangeOfTheFileIsTakenUp(t *testing.T) {
	const open, closed = "domain: relay.test\n", "domain: relay.test\nnames: {policy: closed}\n"
	for name, change := range map[string]func(t *testing.T, dir string){
		"written": func(t *testing.T, dir string) { write(t, dir, "relay.yaml", closed) },
		"renamed into place": func(t *testing.T, dir string) {
			if err := os.Rename(write(t, dir, ".relay.yaml.swp", closed), filepath.Join(dir, "relay.yaml")); err != nil {
				t.Fatal(err)
			}
		},
		"a link turned": func(t *testing.T, dir string) {
			os.Mkdir(filepath.Join(dir, "..new"), 0o700)
			write(t, filepath.Join(dir, "..new"), "relay.yaml", closed)
			os.Symlink("..new", filepath.Join(dir, "..tmp"))
			if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if name == "a link turned" { // as Kubernetes has it
				os.Mkdir(filepath.Join(dir, "..old"), 0o700)
				write(t, filepath.Join(dir, "..old"), "relay.yaml", open)
				os.Symlink("..old", filepath.Join(dir, "..data"))
				if err := os.Symlink("..data/relay.yaml", filepath.Join(dir, "relay.yaml")); err != nil {
					if runtime.GOOS == "windows" {
						t.Skip("links take a privilege here: ", err)
					}
					t.Fatal(err)
				}
			} else {
				write(t, dir, "relay.yaml", open)
			}
			synctest.Test(t, func(t *testing.T) {
				p, log := running(t, filepath.Join(dir, "relay.yaml"))
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); p.watch(ctx) }()
				time.Sleep(time.Minute)
				change(t, dir)
				time.Sleep(3 * watchInterval)
				if r := p.srv.Names.InForce(); r.Policy != names.Closed {
					t.Error("it is not taken up")
				}
				time.Sleep(time.Minute)
				cancel()
				<-done
				if n := strings.Count(log.String(), "configuration reloaded"); n != 1 {
					t.Errorf("it was reloaded %d times", n)
				}
			})
		})
	}
}

// A file that is gone is told once, and what was read from it stays in use.
func TestFileThatIsGoneIsToldOnce(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "relay.yaml", "domain: relay.test\nnames: {policy: closed}\n")
	synctest.Test(t, func(t *testing.T) {
		p, log := running(t, file)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.watch(ctx) }()
		synctest.Wait()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		cancel()
		<-done
		if n := strings.Count(log.String(), "cannot be read; what was read before is in use"); n != 1 {
			t.Errorf("told %d times:\n%s", n, log)
		}
		if r := p.srv.Names.InForce(); r.Policy != names.Closed {
			t.Errorf("the policy is %s", r.Policy)
		}
	})
}

// Who is asked about names changes while the relay runs: DNS, and an outside server,
// which may come and go.
func TestReloadTakesWhoIsAsked(t *testing.T) {
	asked := make(chan string, 10)
	answer := func(name string) *httptest.Server {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked <- name
			io.WriteString(w, `{"allow": true}`)
		}))
	}
	one, two := answer("one"), answer("two")
	defer one.Close()
	defer two.Close()
	dir := t.TempDir()
	write(t, dir, "key", "0123456789abcdef0123456789abcdef\n")
	const domain = "domain: relay.test\n"
	file := write(t, dir, "relay.yaml", domain)
	p, log := running(t, file)
	p.outside.domains = newDomains(p.cfg)
	p.outside.configure(p.cfg)
	for _, c := range []struct {
		text       string
		noDomains  bool
		ask        string // who is asked; nobody
		nameserver string
	}{
		{"names: {custom_domains: false, resolvers: [192.0.2.1], webhook: {url: \"" + one.URL + "\", secret_file: key}}\n", true, "one", "192.0.2.1:53"},
		{"names: {resolvers: [\"192.0.2.2:5353\"], webhook: {url: \"" + two.URL + "\", secret_file: key}}\n", false, "two", "192.0.2.2:5353"},
		{"", false, "", ""},
	} {
		write(t, dir, "relay.yaml", domain+c.text)
		p.reload()
		r := p.srv.Names.InForce()
		if r.NoDomains != c.noDomains || r.NoQuestions != (c.ask == "") {
			t.Errorf("%q: no domains %v, no questions %v\n%s", c.text, r.NoDomains, r.NoQuestions, log)
		}
		if s := p.outside.domains.resolver().Servers; len(s) != min(1, len(c.nameserver)) || len(s) > 0 && s[0].String() != c.nameserver {
			t.Errorf("%q: DNS servers %v", c.text, s)
		}
		if c.ask == "" {
			continue
		}
		if err := p.outside.ask(t.Context(), names.Claimant{Name: "a.relay.test", Key: make([]byte, 32)}); err != nil {
			t.Error(err)
		} else if who := <-asked; who != c.ask {
			t.Errorf("%s was asked, want %s", who, c.ask)
		}
	}
}

// Where it is told to, a reload asks for a takeover when something has changed that takes
// one, once; not for a change of where the new process would look for the old one.
func TestReloadAsksForATakeover(t *testing.T) {
	dir := t.TempDir()
	file := write(t, dir, "relay.yaml", "domain: relay.test\n")
	p, log := running(t, file)
	p.renew = make(chan struct{}, 1)
	for _, c := range []struct {
		text    string
		upgrade chan os.Signal
		asks    bool
	}{
		{"reload: keep\nlanes: \"off\"\n", make(chan os.Signal), false},
		{"reload: takeover\n", make(chan os.Signal), false},
		{"reload: takeover\nlanes: \"off\"\nstate_dir: /srv/other\n", make(chan os.Signal), false},
		{"reload: takeover\nlanes: \"off\"\n", nil, false}, // a system without takeovers
		{"reload: takeover\nlanes: \"off\"\n", make(chan os.Signal), true},
		{"reload: takeover\nlanes: \"off\"\n# again\n", make(chan os.Signal), true},
	} {
		log.Reset()
		p.upgrade = c.upgrade
		write(t, dir, "relay.yaml", "domain: relay.test\n"+c.text)
		p.reload()
		if asks := len(p.renew) == 1; asks != c.asks || strings.Contains(log.String(), "takes a takeover, which begins now") != c.asks {
			t.Errorf("%q asks for a takeover: %v\n%s", c.text, asks, log)
		}
	}
}
