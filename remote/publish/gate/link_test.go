package gate_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"keystay/remote/publish/gate"
)

func newLink(t testing.TB, s *gate.Store, lasts time.Duration, once bool) string {
	t.Helper()
	path, err := s.NewLink(gate.Link{Name: name, Ends: time.Now().Add(lasts), Once: once})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A link lets in as often as it is opened, until it ends, and so does its cookie.
func TestLinkLetsInUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newRig(t, nil, gate.Rule{Paths: []string{"/a"}, Links: true}, gate.Rule{Paths: []string{"/b"}, Links: true}, gate.Rule{Paths: []string{"/c"}, Passwords: users(t, "ada:wind")})
		link := newLink(t, x.store, 2*time.Hour, false)
		x.want("without it", x.get("/a", person), http.StatusUnauthorized)
		x.want("HEAD", x.do("HEAD", link, nil), http.StatusSeeOther)
		var signed []*http.Cookie
		for range 3 {
			resp := x.get(link+"?to=%2Fa%2Fx", person, fromElsewhere)
			x.want("the link", resp, http.StatusSeeOther)
			if to := resp.Header.Get("Location"); to != "/a/x" {
				t.Errorf("it leads to %q", to)
			}
			signed = resp.Cookies()
		}
		for _, c := range signed {
			if c.MaxAge > 7200 || c.MaxAge < 7190 {
				t.Errorf("a cookie lasts %d s", c.MaxAge)
			}
		}
		for path, status := range map[string]int{"/a": 200, "/b": 200, "/c": 401} {
			x.want(path, x.get(path, withCookies(signed...)), status)
		}
		if resp := x.get(link, person, withCookies(signed...)); resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 0 {
			t.Errorf("opened again by the same browser: %s, %v", resp.Status, resp.Cookies())
		}
		time.Sleep(2*time.Hour - time.Second)
		x.want("before its end", x.get("/a", withCookies(signed...)), http.StatusOK)
		time.Sleep(time.Second)
		x.want("behind its end", x.get("/a", withCookies(signed...)), http.StatusUnauthorized)
		x.want("the link behind its end", x.get(link, person), http.StatusGone)
	})
}

// A one-time link is used up by the first that sends its form, also over restarts, and
// not by programs that look at links in messages.
func TestOneTimeLinkIsForOneBrowser(t *testing.T) {
	dir := t.TempDir()
	rule := gate.Rule{Links: true}
	link := newLink(t, open(t, dir), time.Hour, true) // by another process
	x := newRig(t, open(t, dir), rule)
	for _, method := range []string{"GET", "HEAD", "GET", "OPTIONS"} {
		resp := x.do(method, link, nil, person, fromElsewhere)
		if len(resp.Cookies()) > 0 || resp.StatusCode >= 500 {
			t.Fatalf("%s: %s with %v", method, resp.Status, resp.Cookies())
		}
	}
	page := text(x.get(link+"?to=/x", person))
	if !strings.Contains(page, `<form method="post" action="`+link+`"`) || !strings.Contains(page, `name="to" value="/x"`) {
		t.Errorf("the page is %s", page)
	}
	resp := x.post(link, url.Values{"to": {"/x"}})
	x.want("opening it", resp, http.StatusSeeOther)
	signed := withCookies(resp.Cookies()...)
	x.want("the first browser", x.get("/x", signed), http.StatusOK)
	x.want("the first browser, again", x.get(link, person, signed), http.StatusSeeOther)
	for _, y := range []*rig{x, newRig(t, open(t, dir), rule)} {
		y.want("the page for others", y.get(link, person), http.StatusGone)
		y.want("others", y.post(link, nil), http.StatusGone)
		y.want("the first browser's cookie", y.get("/", signed), http.StatusOK)
	}
	// Whoever is signed in already does not use it up.
	longer := withCookies(x.get(newLink(t, x.store, 2*time.Hour, false), person).Cookies()...)
	link = newLink(t, x.store, time.Hour, true)
	x.want("somebody who is in", x.post(link, nil, longer), http.StatusSeeOther)
	x.want("it still waits", x.get(link, person), http.StatusOK)
}

// Of a hundred that use a one-time link at once, in two processes, one gets in.
func TestOneTimeLinkHasOneWinner(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		store := open(t, dir)
		link := newLink(t, store, time.Hour, true)
		rigs := []*rig{newRig(t, store, gate.Rule{Links: true}), newRig(t, store, gate.Rule{Links: true})}
		if dir != "" {
			rigs[1] = newRig(t, open(t, dir), gate.Rule{Links: true})
		}
		var winners, losers atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				switch resp := rigs[i%2].post(link, nil); resp.StatusCode {
				case http.StatusSeeOther:
					winners.Add(1)
				case http.StatusGone:
					losers.Add(1)
				}
			})
		}
		wg.Wait()
		if winners.Load() != 1 || losers.Load() != 99 {
			t.Errorf("%d got in, %d did not", winners.Load(), losers.Load())
		}
	}
}

// A link is good for its name and its device, as it is, where a rule takes links.
func TestOnlyTheWholeLinkOpens(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Links: true})
	link := newLink(t, x.store, time.Hour, false)
	token := link[strings.LastIndexByte(link, '/')+1:]
	other := strings.NewReplacer("-", "A", "_", "B")
	for i := range token {
		x.want("cut short", x.get(link[:len(link)-i-1], person), http.StatusGone)
		for _, c := range []string{"A", "_", "="} {
			if edited := token[:i] + c + token[i+1:]; edited != token {
				x.want("edited", x.get(strings.TrimSuffix(link, token)+edited, person), http.StatusGone)
			}
		}
	}
	body, _ := base64.RawURLEncoding.DecodeString(token)
	for _, tail := range []string{token + "A", token + "=", token + "/", token + "%20", token + "/x", strings.Repeat("A", 1<<15), "", other.Replace(token) + "x", base64.StdEncoding.EncodeToString(body)} {
		if tail == token { // which has no letter that the encodings differ in
			continue
		}
		resp := x.get(strings.TrimSuffix(link, token)+tail, person)
		if resp.StatusCode != http.StatusGone && resp.StatusCode != http.StatusNotFound || len(resp.Cookies()) > 0 {
			t.Errorf("%.40q: %s", tail, resp.Status)
		}
	}
	x.want("at another device", newRig(t, nil, gate.Rule{Links: true}).get(link, person), http.StatusGone)
	x.want("where no rule takes links", newRig(t, x.store, gate.Rule{Passwords: users(t, "ada:wind")}).get(link, person), http.StatusGone)
	x.want("from where nobody may come", newRig(t, x.store, gate.Rule{Links: true, Addresses: ranges("10.0.0.0/8")}).get(link, person), http.StatusGone)
	elsewhere, err := gate.New(gate.Config{Name: "other.relay.test", Store: x.store, Rules: []gate.Rule{{Links: true}}})
	if err != nil {
		t.Fatal(err)
	}
	foreign := &rig{t: t, handler: elsewhere.Wrap(x.handler)}
	x.want("at another name", foreign.get(link, person, func(r *http.Request) { r.Host = "other.relay.test" }), http.StatusGone)
	x.want("the link", x.get(link, person), http.StatusSeeOther)
}

// There is an end to how many one-time links wait, and those that have ended do not
// count.
func TestOneTimeLinksAreBounded(t *testing.T) {
	dir := t.TempDir()
	store := open(t, dir)
	folder := filepath.Join(dir, gate.Folder, "once")
	for i := range gate.MaxOnce {
		ends := "1" // long ago
		if i > 0 {
			ends = "99999999999"
		}
		if err := os.WriteFile(filepath.Join(folder, "x"+strings.Repeat("0", i%7)+string(rune('a'+i%26))+time.Unix(int64(i), 0).Format("150405")), []byte(ends), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newLink(t, store, time.Hour, true)
	if _, err := store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(time.Hour), Once: true}); err == nil {
		t.Error("there is no end to them")
	}
	newLink(t, store, time.Hour, false)
	for _, lasts := range []time.Duration{0, -time.Second, gate.MaxLink + time.Hour} {
		if _, err := store.NewLink(gate.Link{Name: name, Ends: time.Now().Add(lasts)}); err == nil {
			t.Errorf("a link lasts %v", lasts)
		}
	}
}
