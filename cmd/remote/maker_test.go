package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/remote/publish/folder"
)

// read returns the services of a file.
func read(t *testing.T, text string) []config.Service {
	t.Helper()
	file := filepath.Join(t.TempDir(), "remote.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fs := pflag.NewFlagSet("remote", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	if err := fs.Parse([]string{"--config", file}); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.LoadRemote(fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Services
}

func newTestMaker() *maker { return newMaker(&config.Remote{}, slog.New(slog.DiscardHandler)) }

// A part that two configurations have in common stays the same, so that it keeps its connections;
// what is different is not.
func TestSameServiceIsMadeOnce(t *testing.T) {
	m := newTestMaker()
	front := func(text string) *front {
		t.Helper()
		f, err := m.front(read(t, "services: [{domain: a.relay.test, "+text+"}]")[0], "a.relay.test")
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := front(`routes: [{path: /, local: 3000}, {path: /x, local: 3001}]`)
	for text, same := range map[string]bool{
		`local: 3000`:                         true,
		`local: ":3000", allow: 192.0.2.0/24`: true,
		`local: "localhost:3000"`:             false,
		`local: "127.0.0.1:3000"`:             false, // which is not looked for at ::1
		`local: 3000, host_header: target`:    false,
		`local: "https+insecure://:3000"`:     false,
	} {
		if got := front(text).site.Routes[0].Target == old.site.Routes[0].Target; got != same {
			t.Errorf("%s: the same as before is %v", text, got)
		}
	}
}

// Of a state directory that the owner has moved into a folder nothing is served, also where the
// folder is another one by a later configuration.
func TestMovedStateIsNotServedByALaterFolder(t *testing.T) {
	top := t.TempDir()
	state, dir := filepath.Join(top, "state"), filepath.Join(top, "site")
	for _, made := range []string{state, dir} {
		if err := os.Mkdir(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(state, "identity.pem"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := newTestMaker()
	m.never = folder.NewNever(state)
	t.Cleanup(func() { m.never.Close() })
	ask := func(text string) int {
		t.Helper()
		f, err := m.front(read(t, fmt.Sprintf("services: [{domain: a.relay.test, local: %q%s}]", dir, text))[0], "a.relay.test")
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		f.site.Routes[0].Handler.ServeHTTP(w, httptest.NewRequest("GET", "/moved/identity.pem", nil))
		return w.Code
	}
	if code := ask(""); code != http.StatusNotFound {
		t.Errorf("before: %d", code)
	}
	if err := os.Rename(state, filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", ", listing: true"} {
		if code := ask(text); code != http.StatusNotFound {
			t.Errorf("%q: %d", text, code)
		}
	}
}

// A service can take the place of another where no handshake that is agreed on would
// have been another one.
func TestWhatCanTakeThePlaceOfAnother(t *testing.T) {
	services := read(t, `
services:
  - {name: a0, local: 3000}
  - {name: a1, routes: [{path: /x, local: "text:x"}], deny: 192.0.2.0/24}
  - {name: b0, local: "tcp://:22"}
  - {name: b1, local: "tcp://:23", proxy_protocol: 2}
  - {name: c0, local: "tls://:443"}
  - {name: d0, local: 3000, alpn: [{protocols: mqtt, local: "tcp://:1883"}]}
  - {name: d1, local: 3001, alpn: [{protocols: mqtt, local: "tcp://:1884"}]}
  - {name: e0, local: 3000, alpn: [{protocols: xmpp-client, local: "tcp://:1883"}]}
  - {name: f0, local: 3000, relay: other.test}
`)
	for _, old := range services {
		for _, fresh := range services {
			want := old.Words[0][0] == fresh.Words[0][0]
			if got := (&published{service: old}).canTake(fresh); got != want {
				t.Errorf("%s for %s: %v", fresh.Words[0], old.Words[0], got)
			}
		}
	}
}

// Visitors get to the service of a protocol that they offer; those who offer nothing
// that is named, to the one that is for the rest.
func TestProtocolsLeadToServices(t *testing.T) {
	services := read(t, `
services:
  - {name: a, local: 3000, alpn: [{protocols: [mqtt, coap], local: "tcp://:1"}]}
  - {name: b, local: 3000, alpn: [{protocols: mqtt, local: "tcp://:1"}, {protocols: "*", local: "tcp://:2"}]}
  - {name: c, local: "tcp://:3", alpn: [{protocols: mqtt, local: "tcp://:1"}]}
`)
	for _, tt := range []struct {
		service         int
		offered, chosen string
		refused         bool
		leads           int
	}{
		{0, "", "", false, 0},
		{0, "h2 http/1.1", "h2", false, 0},
		{0, "http/1.1 coap", "coap", false, 1},
		{0, "xmpp", "", true, 0},
		{1, "", "", false, 2},
		{1, "h2", "h2", false, 0},
		{1, "mqtt", "mqtt", false, 1},
		{1, "xmpp irc", "xmpp", false, 2},
		{2, "", "", false, 0},
		{2, "postgresql", "postgresql", false, 0},
		{2, "mqtt", "mqtt", false, 1},
	} {
		p := newProtocols(services[tt.service])
		chosen, ok := p.Choose(strings.Fields(tt.offered))
		if chosen != tt.chosen || ok == tt.refused || ok && p.Service(chosen) != tt.leads {
			t.Errorf("%d, %q: %q %v, leads to %d; want %+v", tt.service, tt.offered, chosen, ok, p.Service(chosen), tt)
		}
	}
}

// The content of a service's files is tried before anything is served.
func TestTrialFindsWhatIsWrongInFiles(t *testing.T) {
	m := newTestMaker()
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("# nobody yet\nme:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	services := read(t, "services:\n  - {name: b, local: 3000}\n  - {name: a, local: 3000, gate: {password_file: "+users+"}}\n")
	err := m.trial(services)
	if err == nil || !strings.Contains(err.Error(), "services[1]: "+users+": line 2: ") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	if err := m.trial(services[:1]); err != nil {
		t.Error(err)
	}
}
