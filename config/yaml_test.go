package config

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever is in the file: no panic, and each problem of a value, of a key or
// of the syntax names a line that the file has.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"domain: relay.test\nlisten: [\":443\"]\nnames: {policy: open}\n",
		"domain: relay.test\ntokens:\n  - {secret_file: \"\", names: [a.relay.test]}\n",
		"acme: {eab: {kid: k, hmac: YQ}}\n", "domain: &a x\nabuse: *a\n", "a: b\n---\nc: d\n", "\t", "? [a]\n: b", "{", "<<: *x",
		"domain: |\n  x\n y\n", "tokens: [[[[]]]]", "\xef\xbb\xbfdomain: x", "domain: !!binary x", "log.level: x", "a: \"\\q\"\n", "- a\nb: c\n",
	} {
		f.Add([]byte(s))
	}
	keys := relayFileKeys()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := parseFile("f", data, keys)
		src, err := newSource(keys, nil, file)
		if err != nil {
			t.Fatal(err)
		}
		var r Relay
		if err := src.viper.Unmarshal(&r); err != nil {
			t.Fatalf("what passed the check cannot be decoded: %v", err)
		}
		reader := relayReader{relay: &r}
		reader.check()
		errs := append(file.errs, src.locate(reader.errs)...)
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, e := range errs {
			whole := e.Message == "the file is empty" || strings.Contains(e.Message, "unknown anchor") ||
				strings.HasSuffix(e.Message, "missing") || e.Key == "tokens"
			if e.Line < 0 || e.Line > lines || e.Line == 0 && !whole {
				t.Errorf("line %d of %d: %q", e.Line, lines, e)
			}
			if strings.ContainsAny(e.Message, "\n\r") {
				t.Errorf("a message of several lines: %q", e.Message)
			}
		}
		if errs.sorted("f") == nil && (r.Domain == "" || len(r.Listen) == 0) {
			t.Errorf("accepted: %+v", r)
		}
	})
}

func TestStateDirFollowsTheSystem(t *testing.T) {
	tests := []struct {
		goos string
		env  map[string]string
		want string
	}{
		{"linux", nil, "/home/me/.local/state/keystay"},
		{"linux", map[string]string{"XDG_STATE_HOME": "/state"}, "/state/keystay"},
		{"linux", map[string]string{"XDG_STATE_HOME": "state"}, "/home/me/.local/state/keystay"},
		{"linux", map[string]string{"XDG_STATE_HOME": "/state", "STATE_DIRECTORY": "/var/lib/keystay:/var/lib/other"}, "/var/lib/keystay"},
		{"freebsd", map[string]string{"XDG_STATE_HOME": "/state"}, "/state/keystay"},
		{"darwin", map[string]string{"XDG_STATE_HOME": "/state"}, "/home/me/Library/Application Support/keystay"},
		{"windows", map[string]string{"LocalAppData": "/local", "ProgramData": "/data"}, "/local/keystay"},
		{"windows", map[string]string{"LocalAppData": `C:\Windows\System32\config\systemprofile\AppData\Local`, "ProgramData": "/data"}, "/data/keystay"},
		{"windows", map[string]string{"ProgramData": "/data"}, "/data/keystay"},
		{"windows", nil, ""},
	}
	for _, tt := range tests {
		got, err := stateDir(tt.goos, func(name string) string { return tt.env[name] }, func() (string, error) { return "/home/me", nil })
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s %v: %q, %v, want %q", tt.goos, tt.env, got, err, tt.want)
		}
	}
}

// Whatever a file says of services: no panic, and each problem names a line that the
// file has, or is of the file as a whole.
func FuzzServices(f *testing.F) {
	for _, s := range []string{
		"services: [{local: 3000}]", "services:\n- {domain: [a.relay.test, b], routes: [{path: /, local: ./x, strip: true}], gate: {links: true}}\n",
		"services: [{local: text:, headers: {request: {set: {a: b, A: c}, remove: x}}}]", "services: [{alpn: [{protocols: \"*\", local: \"tcp://:1\"}], local: \"tls://:1\"}]",
		"services: [x, {gates: [y, {oidc: {}}]}]", "relay: []\n", "services: [{routes: [{}], local: 3}]", "services: [{local: 1}, {local: 2}]",
	} {
		f.Add([]byte(s))
	}
	keys := remoteFileKeys()
	f.Fuzz(func(t *testing.T, data []byte) {
		file := parseFile("f", data, keys)
		src, err := newSource(keys, nil, file)
		if err != nil {
			t.Fatal(err)
		}
		r := serviceReader{src: src, remote: src.remote()}
		r.read(nil)
		lines := bytes.Count(data, []byte("\n")) + 1
		for _, e := range append(file.errs, src.locate(r.errs)...) {
			if e.Line < 0 || e.Line > lines || e.Line == 0 && strings.Contains(e.Key, "[") && e.From == "f" {
				t.Errorf("line %d of %d: %q", e.Line, lines, e)
			}
			if strings.ContainsAny(e.Message, "\n\r") {
				t.Errorf("a problem of several lines: %q", e.Message)
			}
		}
	})
}
