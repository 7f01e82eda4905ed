package relays_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/hint"
	"keystay/internal/relaylist"
	"keystay/internal/testca"
	"keystay/remote"
	"keystay/remote/relays"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(seed byte) relaylist.Key { return relaylist.KeyOf(keyOf(seed)) }

// document is a signed list of some relays.
func document(t testing.TB, serial uint64, at time.Time, relays []string, seeds ...byte) []byte {
	t.Helper()
	draft := map[string]any{"name": "friends"}
	var entries []map[string]string
	for _, r := range relays {
		entries = append(entries, map[string]string{"relay": r})
	}
	draft["relays"] = entries
	b, err := json.Marshal(draft)
	if err != nil {
		t.Fatal(err)
	}
	var keys []ed25519.PrivateKey
	for _, seed := range seeds {
		keys = append(keys, keyOf(seed))
	}
	b, err = relaylist.Sign(b, relaylist.Stamp{Serial: serial, Issued: at, Expires: at.AddDate(0, 0, 30)}, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parsed(t testing.TB, b []byte) *relaylist.List {
	t.Helper()
	l, err := relaylist.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Whose list counts: one that was given, the one that was kept, or the first; and never an
// older document than one that was seen.
func TestWhoseListCounts(t *testing.T) {
	list := func(serial uint64, seeds ...byte) *relaylist.List {
		return parsed(t, document(t, serial, now, []string{"relay.net"}, seeds...))
	}
	seen := func(seed byte, serial uint64) relays.Seen {
		return relays.Seen{List: "x", Key: public(seed).String(), Serial: serial}
	}
	for what, c := range map[string]struct {
		list  *relaylist.List
		keys  []relaylist.Key
		seen  relays.Seen
		at    time.Time
		is    relays.Seen // of what is refused, Key is empty
		first bool
		hint  *hint.Advice
	}{
		"the first time":                           {list: list(5, 1, 2), seen: relays.Seen{List: "x"}, is: seen(1, 5), first: true},
		"a key that was given":                     {list: list(5, 1, 2), keys: []relaylist.Key{public(2)}, is: seen(2, 5)},
		"one of those that were given":             {list: list(5, 1), keys: []relaylist.Key{public(9), public(1)}, is: seen(1, 5)},
		"the key that was kept":                    {list: list(5, 2, 1), seen: seen(1, 4), is: seen(1, 5)},
		"the kept one of those that were given":    {list: list(5, 2, 1), keys: []relaylist.Key{public(2), public(1)}, seen: seen(1, 5), is: seen(1, 5)},
		"the same document again":                  {list: list(5, 1), seen: seen(1, 5), is: seen(1, 5)},
		"another key than the given one":           {list: list(5, 1), keys: []relaylist.Key{public(2)}, hint: hint.ListForeign},
		"another key than the kept one":            {list: list(5, 2), seen: seen(1, 4), hint: hint.ListForeign},
		"a given key in the place of the kept one": {list: list(3, 2), keys: []relaylist.Key{public(2)}, seen: seen(1, 4), is: seen(2, 3)},
		"an older one":                             {list: list(3, 1), seen: seen(1, 4), hint: hint.ListOld},
		"an older one by a given key":              {list: list(3, 1), keys: []relaylist.Key{public(1)}, seen: seen(1, 4), hint: hint.ListOld},
		"an older one by another given key":        {list: list(3, 2), keys: []relaylist.Key{public(1), public(2)}, seen: seen(1, 4), hint: hint.ListOld},
		"a newer one by another given key":         {list: list(5, 2), keys: []relaylist.Key{public(1), public(2)}, seen: seen(1, 4), is: seen(2, 5)},
		"one that has expired":                     {list: list(5, 1), at: now.AddDate(0, 0, 30), hint: hint.ListExpired},
		"a kept key that is none":                  {list: list(5, 1), seen: relays.Seen{Key: "ed25519:x"}},
	} {
		if c.at.IsZero() {
			c.at = now
		}
		c.seen.List, c.is.List = "x", "x"
		is, first, err := relays.Trust(c.list, c.keys, c.seen, c.at)
		switch {
		case c.is.Key == "" && (err == nil || is != c.seen):
			t.Errorf("%s: %+v, %v", what, is, err)
		case c.is.Key != "" && (err != nil || is != c.is || first != c.first):
			t.Errorf("%s: %+v, %v, %v", what, is, first, err)
		case c.hint != nil && len(hint.All(err)) != len(c.hint.Do):
			t.Errorf("%s: %v, %q", what, err, hint.All(err))
		case (c.hint == hint.ListForeign) != errors.Is(err, relays.ErrForeign):
			t.Errorf("%s: it is foreign, and that does not pass, or the other way round: %v", what, err)
		}
	}
	changed := bytes.Replace(document(t, 5, now, []string{"relay.net"}, 1), []byte("relay.net"), []byte("relay.com"), 1)
	if _, _, err := relays.Trust(parsed(t, changed), nil, relays.Seen{}, now); !errors.Is(err, relays.ErrForeign) {
		t.Errorf("a changed one: %v", err)
	}
}

// What of a relay counts for which names.
func TestRelayFitsWhatIsWanted(t *testing.T) {
	open := remote.About{Policy: "open", KeyNames: "open", RoundTrip: 1}
	token := remote.About{Policy: "token", KeyNames: "token", CustomDomains: true, TCPPorts: "1-2", RoundTrip: 1}
	closed := remote.About{Policy: "closed", KeyNames: "open", RoundTrip: 1}
	shut := remote.About{Policy: "closed", KeyNames: "closed", RoundTrip: 1}
	has := func(string) bool { return true }
	for what, c := range map[string]struct {
		need  relays.Need
		about remote.About
		fits  bool
	}{
		"a new name, open":                          {relays.Need{}, open, true},
		"a new name, for a token":                   {relays.Need{}, token, false},
		"a new name, for a token that is kept":      {relays.Need{HasToken: has}, token, true},
		"a new name, closed":                        {relays.Need{HasToken: has}, closed, false},
		"a name of the key, closed for others":      {relays.Need{KeyName: true}, closed, true},
		"a name of the key, closed":                 {relays.Need{KeyName: true, HasToken: has}, shut, false},
		"a name of the key, for a token":            {relays.Need{KeyName: true}, token, false},
		"a name below it":                           {relays.Need{Domains: []string{"a.relay.net"}}, open, true},
		"a name below another one":                  {relays.Need{Domains: []string{"a.other.net"}}, open, false},
		"a domain of one's own, where it takes any": {relays.Need{Domains: []string{"a.example"}, HasToken: has}, token, true},
		"a domain of one's own":                     {relays.Need{Domains: []string{"a.example"}}, open, false},
		"a TCP port":                                {relays.Need{Ports: true}, open, false},
		"a TCP port, where it has some":             {relays.Need{Ports: true, HasToken: has}, token, true},
		"a name of the key and a port, closed":      {relays.Need{KeyName: true, Ports: true}, remote.About{Policy: "closed", KeyNames: "open", TCPPorts: "1"}, false},
		"a policy of later days":                    {relays.Need{HasToken: has}, remote.About{Policy: "weekdays"}, false},
	} {
		list := []relaylist.Relay{{Address: "relay.net:8443"}, {Address: "other.net"}}
		ranked := relays.Rank(t.Context(), list, c.need, func(_ context.Context, relay string) (remote.About, error) {
			if relay == "other.net" {
				return remote.About{}, errors.New("away")
			}
			return c.about, nil
		})
		if r := ranked[0]; r.Address != "relay.net:8443" || r.Fits() != c.fits || (r.Lacks == "") != c.fits {
			t.Errorf("%s: %+v", what, r)
		}
	}
}

// The order is by whether a relay can be taken, then by the round trip. All are asked side
// by side, and one that does not answer is given up after a few seconds.
func TestNearestThatFitsIsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []relaylist.Relay
		for i := range relaylist.MaxRelays {
			list = append(list, relaylist.Relay{Address: fmt.Sprintf("r%d.example", i)})
		}
		began := time.Now()
		ranked := relays.Rank(t.Context(), list, relays.Need{}, func(ctx context.Context, relay string) (remote.About, error) {
			var n int
			_, _ = fmt.Sscanf(relay, "r%d.example", &n)
			switch {
			case n%3 == 0:
				<-ctx.Done()
				return remote.About{}, ctx.Err()
			case n%3 == 1:
				return remote.About{Policy: "closed", RoundTrip: time.Duration(n)}, nil
			}
			return remote.About{Policy: "open", RoundTrip: time.Duration(1000 - n)}, nil
		})
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("%d relays took %v", len(list), took)
		}
		if len(ranked) != len(list) || ranked[0].Address != "r254.example" || !slices.IsSortedFunc(ranked, func(a, b relays.Ranked) int {
			order := func(r *relays.Ranked) time.Duration {
				switch {
				case r.Fits():
					return r.About.RoundTrip
				case r.Err == nil:
					return time.Minute + r.About.RoundTrip
				}
				return time.Hour
			}
			return int(order(&a) - order(&b))
		}) {
			t.Errorf("%+v", ranked[:3])
		}
	})
}

// chooser returns one of a list in a file, of relays of which those named in broken give
// no link.
func chooser(t *testing.T, b []byte, broken ...string) (*relays.Chooser, *[]string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "relays.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	tried := new([]string)
	return &relays.Chooser{
		Source: relays.Source{List: file}, Keep: relays.Keep{StateDir: filepath.Join(t.TempDir(), "state")},
		Ask: func(_ context.Context, relay string) (remote.About, error) {
			if strings.HasPrefix(relay, "away") {
				return remote.About{}, hint.NothingListens.Error(errors.New("connection refused"))
			}
			return remote.About{Policy: "open", KeyNames: "open", RoundTrip: time.Duration(len(relay)) * time.Millisecond}, nil
		},
		Try: func(_ context.Context, relay string) error {
			mu.Lock()
			defer mu.Unlock()
			*tried = append(*tried, relay)
			if slices.Contains(broken, relay) {
				return hint.Banned.Error(errors.New("banned"))
			}
			return nil
		},
	}, tried
}

func look(t *testing.T, c *relays.Chooser) *relays.Look {
	t.Helper()
	l, err := c.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The best relay that gives a link is taken and kept; a later choice changes nothing
// unless it is asked for; and the key of the first list counts from then on.
func TestRelayThatWasTakenIsKept(t *testing.T) {
	c, tried := chooser(t, document(t, 7, time.Now(), []string{"longest.example", "a.example", "bb.example", "away.example"}, 1), "a.example")
	l := look(t, c)
	if _, err := os.Stat(c.Keep.StateDir); !errors.Is(err, os.ErrNotExist) || len(*tried) > 0 || !l.First {
		t.Fatalf("a look has changed something: %v, %v", err, *tried)
	}
	taken, err := c.Take(t.Context(), l, false)
	if err != nil || taken.Relay != "bb.example" || !slices.Equal(*tried, []string{"a.example", "bb.example"}) {
		t.Fatalf("%+v, %v, tried %v", taken, err, *tried)
	}
	if !strings.Contains(taken.Why, "number 2") || !strings.Contains(taken.Why, "of 3 ") || !strings.Contains(taken.Why, "10 ms") || !strings.Contains(taken.Why, "1 not reached") {
		t.Errorf("why: %s", taken.Why)
	}
	if is, err := c.Keep.Taken(); err != nil || is == nil || *is != taken {
		t.Errorf("%+v, %v", is, err)
	}
	if seen, err := c.Keep.Seen(c.Source.List); err != nil || seen.Key != public(1).String() || seen.Serial != 7 {
		t.Errorf("%+v, %v", seen, err)
	}
	c.Try = func(context.Context, string) error { return nil }
	if again, err := c.Take(t.Context(), look(t, c), false); err != nil || again.Relay != "bb.example" {
		t.Errorf("%+v, %v", again, err)
	}
	if anew, err := c.Take(t.Context(), look(t, c), true); err != nil || anew.Relay != "a.example" {
		t.Errorf("%+v, %v", anew, err)
	}
	if err := os.WriteFile(c.Source.List, document(t, 8, time.Now(), []string{"a.example"}, 2), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Look(t.Context()); !errors.Is(err, relays.ErrForeign) {
		t.Errorf("another key: %v", err)
	}
	if err := os.WriteFile(c.Source.List, document(t, 6, time.Now(), []string{"a.example"}, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Look(t.Context()); err == nil {
		t.Error("an older list counts")
	}
}

// Several runs that begin at one time have one relay.
func TestRunsThatBeginAtOnceTakeOneRelay(t *testing.T) {
	keep := relays.Keep{StateDir: t.TempDir()}
	var wg sync.WaitGroup
	got := make([]relays.Taken, 8)
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = keep.Take(relays.Taken{Relay: fmt.Sprintf("r%d.example", i)}, false); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, one := range got {
		if one != got[0] || one.Relay == "" {
			t.Errorf("%+v and %+v", one, got[0])
		}
	}
}

// Where no relay can be taken it is said why, and nothing is kept.
func TestNoRelayIsTakenWithoutALink(t *testing.T) {
	for what, c := range map[string]struct {
		relays []string
		broken []string
		tried  int
		hint   *hint.Advice
	}{
		"none is reached":  {[]string{"away1.example", "away2.example"}, nil, 0, hint.ListNoRelay},
		"none lets it in":  {[]string{"a.example", "b.example", "c.example", "d.example"}, []string{"a.example", "b.example", "c.example"}, 3, hint.ListNoLink},
		"one, and not let": {[]string{"a.example"}, []string{"a.example"}, 1, hint.ListNoLink},
	} {
		chooser, tried := chooser(t, document(t, 1, time.Now(), c.relays, 1), c.broken...)
		_, err := chooser.Take(t.Context(), look(t, chooser), false)
		if err == nil || len(*tried) != c.tried || !slices.Contains(hint.All(err), c.hint.Do[0]) {
			t.Errorf("%s: %v, %q, tried %v", what, err, hint.All(err), *tried)
		}
		if is, err := chooser.Keep.Taken(); is != nil || err != nil {
			t.Errorf("%s: %+v is kept, %v", what, is, err)
		}
	}
}

// A file that is damaged is not taken for one that was never there: the device would have
// other names.
func TestDamagedFileIsNoEmptyOne(t *testing.T) {
	for _, text := range []string{"", "{", `{"taken":{"list":"x"}}`, strings.Repeat(" ", 100<<10)} {
		keep := relays.Keep{StateDir: t.TempDir()}
		if err := os.WriteFile(filepath.Join(keep.StateDir, remote.TakenFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if is, err := keep.Taken(); err == nil || len(hint.All(err)) == 0 {
			t.Errorf("%.20q: %+v, %v", text, is, err)
		}
		if _, err := keep.Take(relays.Taken{Relay: "x.example"}, true); err == nil {
			t.Errorf("%.20q: it is overwritten", text)
		}
	}
}

// A list comes over HTTPS alone, as a whole, and not from where its URL leads in the
// clear.
func TestListIsFetched(t *testing.T) {
	ca := testca.New(t)
	good := document(t, 1, time.Now(), []string{"relay.net"}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/good", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/clear", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://lists.example/good", http.StatusFound)
	})
	asked := make(chan struct{}, 1)
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		_, _ = w.Write(good)
	}))
	defer local.Close()
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, local.URL, http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), relaylist.MaxSize))
		_, _ = w.Write(good)
	})
	mux.HandleFunc("/html", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") })
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.EnableHTTP2 = true
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue("lists.example")}}
	srv.StartTLS()
	defer srv.Close()
	source := func(list string) *relays.Source {
		return &relays.Source{List: list, Roots: ca.Pool(), Dial: func(ctx context.Context, to string) (net.Conn, error) {
			if to != local.Listener.Addr().String() {
				to = srv.Listener.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		}}
	}
	for _, path := range []string{"/good", "/moved"} {
		if l, err := source("https://lists.example" + path).Fetch(t.Context()); err != nil || l.Relays[0].Address != "relay.net" {
			t.Errorf("%s: %+v, %v", path, l, err)
		}
	}
	for url, advice := range map[string]*hint.Advice{
		"https://lists.example/missing": hint.ListAway, "https://lists.example/round": hint.ListAway, "https://lists.example/clear": hint.ListAway,
		"https://lists.example/here":  hint.ListAway,
		"https://lists.example/large": hint.ListBroken, "https://lists.example/html": hint.ListBroken, "https://other.example/good": hint.ListAway,
		filepath.Join(t.TempDir(), "missing"): nil,
	} {
		l, err := source(url).Fetch(t.Context())
		if err == nil || advice != nil && !slices.Equal(hint.All(err), advice.Do) {
			t.Errorf("%s: %+v, %v, %q", url, l, err, hint.All(err))
		}
	}
	if len(asked) > 0 {
		t.Error("a program of this machine was asked, as the list's server wished")
	}
}

func ExampleRank() {
	list := []relaylist.Relay{{Address: "far.example"}, {Address: "near.example"}}
	ask := func(_ context.Context, relay string) (remote.About, error) { // as remote.AskRelay does
		trips := map[string]time.Duration{"far.example": 90 * time.Millisecond, "near.example": 9 * time.Millisecond}
		return remote.About{Policy: "open", KeyNames: "open", RoundTrip: trips[relay]}, nil
	}
	best := relays.Rank(context.Background(), list, relays.Need{KeyName: true}, ask)[0]
	fmt.Println(best.Address, best.About.RoundTrip)
	// Output: near.example 9ms
}
