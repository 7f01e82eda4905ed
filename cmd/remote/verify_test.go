package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/keyname"
	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/internal/testnet"
	"keystay/remote/verify"
)

// verified serves a name with the statement of a key, and runs remote verify.
func verified(t *testing.T, name string, key ed25519.PrivateKey, flags ...string) (out string, err error) {
	t.Helper()
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	ca := testca.New(t)
	cert := ca.Issue(name)
	doc := statement.Sign(key, statement.Statement{Name: name, CertificateKey: statement.KeyOf(cert.Leaf), Time: time.Now()})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", statement.ContentType)
		w.Write(doc)
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"verify", "https://" + name, "--address", srv.Listener.Addr().String(), "--root", root, "--dns", zoneFile{}.serve(t)}, flags...)
	return execute("", args...)
}

// The exit code says who holds the key, three lines say it to a person, and --json has
// all steps.
func TestExitCodeOfVerifySaysWhoHoldsTheKey(t *testing.T) {
	key, other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	label := keyname.Label(key.Public().(ed25519.PublicKey), "")
	made := label + ".relay.test"
	for what, c := range map[string]struct {
		name  string
		key   ed25519.PrivateKey
		flags []string
		code  int
		line  string // the third
	}{
		"made from the key":       {made, key, nil, 0, "so the device holds the key,"},
		"another key":             {made, other, nil, cli.ExitForeign, "so the key is not the device's:"},
		"nobody says whose":       {"xyz.relay.test", key, nil, 1, "so it is not known"},
		"the owner says whose":    {"xyz.relay.test", key, []string{"--identity", strings.ToUpper(label)}, 0, "so the device holds the key,"},
		"the owner says another":  {"xyz.relay.test", other, []string{"--identity", label}, cli.ExitForeign, "so the key is not the device's:"},
		"the chain is not theirs": {made, key, []string{"--root", "testdata/none"}, 2, ""},
	} {
		t.Run(what, func(t *testing.T) {
			out, err := verified(t, c.name, c.key, c.flags...)
			lines := strings.Split(out, "\n")
			if code(err) != c.code || c.line != "" && (len(lines) < 4 || !strings.HasPrefix(lines[2], c.line)) {
				t.Errorf("code %d, %v:\n%s", code(err), err, out)
			}
			if c.line == "" {
				return
			}
			if !strings.Contains(out, "\nnot checked: caa: DNS has no CAA record") || !strings.Contains(out, "\nnot checked: ct: ") {
				t.Errorf("what decides nothing is not told:\n%s", out)
			}
			out, err = verified(t, c.name, c.key, append(c.flags, "--json")...)
			var r verify.Report
			if wrong := json.Unmarshal([]byte(out), &r); wrong != nil || code(err) != c.code || len(r.Checks) != 10 || r.Name != c.name {
				t.Errorf("code %d, %v: %s", code(err), wrong, out)
			}
		})
	}
}

// Wrong usage is code 2, and a name that is not reached code 1 with the reason.
func TestVerifyWithoutANameOrAConnectionSaysWhy(t *testing.T) {
	for _, args := range [][]string{
		{}, {"a b"}, {"http://xyz.relay.test"}, {"https://xyz.relay.test/path"}, {"xyz.relay.test:0"}, {"xyz.relay.test:x"}, {"192.0.2.1"}, {"xyz.relay.test", "b.relay.test"},
		{"xyz.relay.test", "--identity", "x"}, {"xyz.relay.test", "--address", "x"}, {"xyz.relay.test", "--root", "testdata/none"}, {"xyz.relay.test", "--dns", "x"},
	} {
		if out, err := execute("", append([]string{"verify"}, args...)...); code(err) != 2 {
			t.Errorf("%q: code %d, %v: %s", args, code(err), err, out)
		}
	}
	out, err := execute("", "verify", "xyz.relay.test", "--address", testnet.Reserve(t).String())
	if code(err) != 1 || !strings.HasPrefix(out, "xyz.relay.test was not reached\nno device has said whose that key is\nso it is not known who holds the key\n") || !strings.Contains(out, "not checked: connection: ") || strings.Contains(strings.Join(hint.All(err), ""), "--root") {
		t.Errorf("code %d, %v: %s", code(err), err, out)
	}
}
