package remote_test

import (
	"testing"
	"time"

	"keystay/internal/keyname"
	"keystay/internal/statement"
	"keystay/remote"
)

// said returns what a listener says of its name, which it must have signed.
func said(t *testing.T, ln *remote.Listener) *statement.Statement {
	t.Helper()
	doc, err := ln.Statement()
	if err != nil {
		t.Fatal(err)
	}
	s, err := statement.Parse(doc)
	if err == nil {
		err = s.Verify()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A listener says that name and certificate are its device's; a certificate that was
// brought along has no account.
func TestListenerStatesWhoseTheNameIs(t *testing.T) {
	r := newRelay(t)
	ln := r.listen(r.config())
	s := said(t, ln)
	if s.Name != domain || s.CertificateKey != statement.KeyOf(ln.Certificate()) || s.Account != "" || s.Word != "" || !s.IsFresh(time.Now()) {
		t.Errorf("%+v", s)
	}
	if has, _ := s.FromKey(); has {
		t.Error("the name is not made from a key")
	}
}

// A name made from the key and a word is told with it.
func TestStatementOfANameMadeFromTheKey(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	d := r.openDevice(remote.DeviceConfig{StateDir: cfg.StateDir, Relays: []string{zone}, RelayAddresses: cfg.RelayAddresses, RelayRoots: cfg.RelayRoots, Proxy: none})
	all, err := d.Listen(remote.Name{TLS: cfg.TLS}, remote.Name{Word: "notes", TLS: cfg.TLS}, remote.Name{Domain: domain, Raw: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range []string{"", "notes"} {
		s := said(t, all[i])
		if has, own := s.FromKey(); !has || !own || s.Word != word || s.Name != keyname.Label(s.Identity, word)+".relay.test" {
			t.Errorf("%+v", s)
		}
	}
	if doc, err := all[2].Statement(); err == nil {
		t.Errorf("a name whose TLS is not ended here: %s", doc)
	}
}
