package acme

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
)

const name = "dev.relay.test"

// caFunc is a CA that is a function.
type caFunc func(*http.Request) (*http.Response, error)

func (f caFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// offline is a network without a CA.
func offline(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// reply makes an answer of a CA.
func reply(status int, body io.Reader, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/problem+json"}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(body)}
}

// newKeeper returns a Keeper on cfg whose CA is ca, and its events. The URLs of its CAs
// get a path; OtherCAs have none.
func newKeeper(t *testing.T, cfg Config, ca caFunc) (*Keeper, <-chan Event) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	// acmez remembers directories by their URL for the life of the process: each folder
	// has its own, and a test that runs again has another folder.
	dir := "/" + strings.ReplaceAll(filepath.ToSlash(cfg.Dir), "/", "-")
	cfg.CA = "https://ca.test" + dir
	for i, other := range cfg.OtherCAs {
		cfg.OtherCAs[i] = other + dir
	}
	events := make(chan Event, 10000)
	cfg.Notify = func(ev Event) { events <- ev }
	k, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k.http.Transport = &watcher{next: ca}
	t.Cleanup(func() { k.Close() })
	return k, events
}

// next returns the next event of one of those kinds.
func next(events <-chan Event, kinds ...EventKind) Event {
	for ev := range events {
		if slices.Contains(kinds, ev.Kind) {
			return ev
		}
	}
	panic("unreachable")
}

// pair makes a self-signed certificate and its key, both PEM.
func pair(t *testing.T, name string, notBefore, notAfter time.Time) (cert, key []byte) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, DNSNames: []string{name}, NotBefore: notBefore, NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = certmagic.PEMEncodePrivateKey(priv); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

// put stores a certificate for name in k's folder.
func put(t *testing.T, k *Keeper, notBefore, notAfter time.Time) {
	t.Helper()
	cert, key := pair(t, name, notBefore, notAfter)
	for file, b := range map[string][]byte{
		certmagic.StorageKeys.SiteCert(k.issuers[0].IssuerKey(), name):       cert,
		certmagic.StorageKeys.SitePrivateKey(k.issuers[0].IssuerKey(), name): key,
	} {
		if err := k.store.Store(t.Context(), file, b); err != nil {
			t.Fatal(err)
		}
	}
}

func manage(t *testing.T, k *Keeper) {
	t.Helper()
	if err := k.Manage(name); err != nil {
		t.Fatal(err)
	}
}

const day = 24 * time.Hour

func TestNeverServesExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		k, events := newKeeper(t, Config{}, func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			return offline(r)
		})
		start := time.Now()
		put(t, k, start, start.Add(3*day))
		manage(t, k)
		if ev := next(events, Loaded); !ev.NotAfter.Equal(start.Add(3 * day)) {
			t.Errorf("loaded %+v", ev)
		}
		if _, err := k.Certificate("DEV.relay.test."); err != nil {
			t.Error(err)
		}

		time.Sleep(2*day - time.Minute)
		if n := asked.Load(); n != 0 {
			t.Errorf("%d requests for a certificate that was not due", n)
		}
		time.Sleep(10 * time.Minute)
		ev := next(events, Failed)
		if asked.Load() == 0 || ev.NotAfter.IsZero() || ev.Why != "due for renewal" {
			t.Errorf("%d requests, %+v", asked.Load(), ev)
		}
		time.Sleep(day - 10*time.Minute)
		if _, err := k.Certificate(name); err != nil {
			t.Errorf("a minute before its end: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if _, err := k.Certificate(name); !errors.Is(err, ErrNoCertificate) {
			t.Errorf("after its end: %v", err)
		}
		k.Close() // within the bubble
	})
}

func TestNothingIsOrderedBeforeReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		gate := make(chan error)
		k, events := newKeeper(t, Config{Ready: func(ctx context.Context, n string) error {
			if n != name {
				t.Errorf("asked for %q", n)
			}
			select {
			case err := <-gate:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}}, func(r *http.Request) (*http.Response, error) { asked.Add(1); return offline(r) })
		manage(t, k)
		next(events, Waiting)
		time.Sleep(day)
		if asked.Load() != 0 {
			t.Error("the CA was asked")
		}
		refused := errors.New("claim refused")
		gate <- refused
		if ev := next(events, Failed); !errors.Is(ev.Err, refused) {
			t.Errorf("failed with %v", ev.Err)
		}
		gate <- nil
		next(events, Ordering)
		next(events, Waiting)
		k.Close() // while it waits
	})
}

// A CA that accepts connections and says nothing is given up on.
func TestSilentCAIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		start := time.Now()
		manage(t, k)
		ev := next(events, Failed)
		if took := time.Since(start); took < requestTimeout || took > orderTimeout {
			t.Errorf("given up after %v", took)
		}
		if wait := time.Until(ev.Next); wait > 5*time.Second {
			t.Errorf("comes back in %v", wait)
		}
		k.Close()
	})
}

func TestOrdersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, events := newKeeper(t, Config{}, offline)
		var leave func()
		for range maxFirst {
			leave, _, _ = k.queue.enter(t.Context(), false, false) // as an order under way does
		}
		manage(t, k)
		time.Sleep(time.Hour)
		if len(events) != 0 {
			t.Errorf("one order too many: %v", next(events, Ordering))
		}
		leave()
		next(events, Ordering)
		k.Close()
	})
}

func TestRenewalIsDueByAdviceOrTwoThirds(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	made := func(life time.Duration) *stored {
		cert, _ := pair(t, name, now, now.Add(life))
		block, _ := pem.Decode(cert)
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		s := &stored{cert: newCert(leaf)}
		return s
	}
	for _, test := range []struct {
		life, advice, want time.Duration // after now
	}{
		{90 * day, 0, 60 * day},
		{90 * day, 50 * day, 50 * day},
		{90 * day, 70 * day, 60 * day},
		{90 * day, time.Second, minAge},
		{time.Minute, time.Second, 30 * time.Second},
		{time.Minute, 55 * time.Second, 40 * time.Second},
	} {
		s := made(test.life)
		if test.advice != 0 {
			s.ari.SelectedTime = now.Add(test.advice)
		}
		if _, at := due(s, now); !at.Equal(now.Add(test.want)) {
			t.Errorf("life %v, advice %v: due after %v, want %v", test.life, test.advice, at.Sub(now), test.want)
		}
	}
	if why, at := due(made(day), now.Add(day)); !at.Equal(now.Add(day)) || !strings.Contains(why, "expired") {
		t.Errorf("expired: %v, %q", at, why)
	}
}

// A certificate that was valid when it was read is shown for as long as it is by the time
// that has passed, whatever the clock is set to meanwhile; one that had run out then, or
// was not valid yet, by the clock alone.
func TestClockThatIsSetTakesNoCertificateAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		leaf := &x509.Certificate{NotBefore: start.Add(-day), NotAfter: start.Add(90 * day)}
		for what, c := range map[string]struct {
			loaded, asked time.Duration // by the clock, from start on
			want          bool
		}{
			"set forward by years":                      {0, 3650 * day, true},
			"set back by years":                         {0, -3650 * day, true},
			"read after its end":                        {91 * day, 91 * day, false},
			"read after its end by a clock put right":   {3650 * day, 0, true},
			"read before its beginning, set far enough": {-3650 * day, 91 * day, false},
			"read before its beginning, and put right":  {-3650 * day, 0, true},
		} {
			if got := shows(leaf, start.Add(c.asked), start.Add(c.loaded), time.Second); got != c.want {
				t.Errorf("%s: valid is %v", what, got)
			}
		}
		s := &stored{cert: newCert(leaf), loaded: start}
		time.Sleep(89 * day)
		if !s.valid(time.Now()) {
			t.Error("not valid before its end")
		}
		time.Sleep(2 * day)
		if s.valid(time.Now()) {
			t.Error("valid after its end")
		}
	})
}

func TestAdviceOnRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		window := fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q}}`,
			start.Add(10*day).Format(time.RFC3339), start.Add(11*day).Format(time.RFC3339))
		var polls atomic.Int32
		k, events := newKeeper(t, Config{}, func(r *http.Request) (*http.Response, error) {
			if !strings.Contains(r.URL.Path, "/ari/") {
				return reply(200, strings.NewReader(`{"newNonce":"https://ca.test/n","newOrder":"https://ca.test/o","renewalInfo":"https://ca.test/ari"}`),
					"Content-Type", "application/json"), nil
			}
			polls.Add(1)
			return reply(200, strings.NewReader(window), "Content-Type", "application/json", "Retry-After", "1"), nil
		})
		cert, _ := pair(t, name, start, start.Add(90*day))
		block, _ := pem.Decode(cert)
		leaf, _ := x509.ParseCertificate(block.Bytes)
		leaf.AuthorityKeyId = []byte{1}
		s := &stored{cert: newCert(leaf), issuer: k.issuers[0]}
		s.ari.SuggestedWindow.Start, s.ari.SuggestedWindow.End = start.Add(60*day), start.Add(61*day)
		ctx, cancel := context.WithCancel(t.Context())
		e := newEntry(name, ctx.Done(), cancel)
		e.set(s)
		k.wg.Go(func() { k.keep(ctx, e) })
		next(events, Loaded)
		time.Sleep(10 * time.Minute)
		if n := polls.Load(); n < 1 || n > 12 {
			t.Errorf("%d polls in ten minutes", n)
		}
		cur, _ := e.state()
		if _, at := due(cur, time.Now()); at.Before(start.Add(10*day)) || at.After(start.Add(11*day)) {
			t.Errorf("due at %v", at)
		}
		first := cur.ari.SelectedTime
		time.Sleep(time.Hour)
		if cur, _ = e.state(); !cur.ari.SelectedTime.Equal(first) {
			t.Error("the same window was drawn from twice")
		}
		cancel()
		k.Close()
	})
}

func TestNamesThatNoCAIssuesForAreRefused(t *testing.T) {
	k, _ := newKeeper(t, Config{Ready: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}, offline)
	for _, bad := range []string{"", ".", "localhost", "*.relay.test", "../relay.test", "a/b.test", "-a.test", "a..test",
		"127.0.0.1", "::1", "ä.test", "a.test..", strings.Repeat("a.", 126) + "ab", strings.Repeat("a", 64) + ".test", "a\x00.test"} {
		if err := k.Manage(bad); err == nil {
			t.Errorf("%q is managed", bad)
		}
	}
	for _, good := range []string{"a.test", "XN--4CA.test.", strings.Repeat("a.", 125) + "abc", strings.Repeat("a", 63) + ".test", "1.test"} {
		if err := k.Manage(good); err != nil {
			t.Error(err)
		}
	}
	if _, err := k.Certificate("A.test"); !errors.Is(err, ErrNoCertificate) {
		t.Error(err)
	}
	k.Forget("a.TEST.")
	if _, err := k.Certificate("a.test"); !errors.Is(err, ErrUnknownName) {
		t.Error(err)
	}
	if err := k.Wait(t.Context(), "a.test"); !errors.Is(err, ErrUnknownName) {
		t.Error(err)
	}
	waited := make(chan error)
	go func() { waited <- k.Wait(t.Context(), "xn--4ca.test") }()
	k.Forget("xn--4ca.test")
	if err := <-waited; !errors.Is(err, ErrUnknownName) {
		t.Errorf("forgotten: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Wait(ctx, "1.test"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	go func() { waited <- k.Wait(t.Context(), "1.test") }()
	k.Close()
	if err := <-waited; !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	k.Close()
	if err := k.Manage("a.test"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestWrongConfigIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{
		{},
		{Dir: file},
		{Dir: t.TempDir(), NoHTTP01: true, NoTLSALPN01: true},
		{Dir: t.TempDir(), EABKeyID: "kid"},
		{Dir: t.TempDir(), CA: "http://ca.test/dir"},
		{Dir: t.TempDir(), CA: "ca.test"},
	} {
		if k, err := New(cfg); err == nil {
			k.Close()
			t.Errorf("%+v passes", cfg)
		}
	}
}

// What cannot be read is no reason to order, and says which file it is.
func TestUnreadableCertificateIsNoReasonToOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		k, events := newKeeper(t, Config{}, func(r *http.Request) (*http.Response, error) { asked.Add(1); return offline(r) })
		file := k.store.Filename(certmagic.StorageKeys.SiteCert(k.issuers[0].IssuerKey(), name))
		if err := os.MkdirAll(file, 0o700); err != nil { // a folder cannot be read, as root neither
			t.Fatal(err)
		}
		manage(t, k)
		ev := next(events, Failed)
		var ferr *FileError
		if !errors.As(ev.Err, &ferr) || ferr.Path != file || asked.Load() != 0 {
			t.Errorf("%v, asked %d times", ev.Err, asked.Load())
		}
		k.Close()
	})
}

// What the ACME client says on its way is in the log at debug alone.
func TestStepsOfTheClientAreDebug(t *testing.T) {
	for level, want := range map[slog.Level]bool{slog.LevelInfo: false, slog.LevelDebug: true} {
		var out bytes.Buffer
		l := slog.New(demote{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})}).With("a", 1).WithGroup("g")
		l.Error("failed", "b", 2)
		if got := strings.Contains(out.String(), "level=DEBUG msg=failed a=1 g.b=2"); got != want {
			t.Errorf("at %v: %q", level, out.String())
		}
	}
}
