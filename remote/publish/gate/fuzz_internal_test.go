package gate

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"keystay/internal/signin"
)

// fuzzGate is a gate with a session of its own, and a link.
func fuzzGate(f *testing.F) (r *rule, cookie, link string) {
	f.Helper()
	store, err := Open("")
	if err != nil {
		f.Fatal(err)
	}
	g, err := New(Config{Name: "xyz.relay.test", Store: store, Rules: []Rule{{Links: true}}})
	if err != nil {
		f.Fatal(err)
	}
	r = g.rules[0]
	link, err = store.NewLink(Link{Name: g.name, Ends: time.Now().Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	return r, r.cookie(newSession(byLink, user{}, r.credential(byLink, ""), time.Hour)), strings.TrimPrefix(link, linkFolder)
}

// No text opens a session but the one that was signed.
func FuzzCookie(f *testing.F) {
	r, good, _ := fuzzGate(f)
	f.Add("")
	f.Add("e30.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		if s := r.open(text); s != nil && text != good {
			t.Fatalf("%q opens", text)
		}
		if r.open(good) == nil {
			t.Fatal("the session is over")
		}
	})
}

// No text is a link but the one that was made.
func FuzzLink(f *testing.F) {
	r, _, good := fuzzGate(f)
	f.Add("")
	f.Add(strings.Repeat("A", len(good)))
	f.Fuzz(func(t *testing.T, token string) {
		if _, ok := r.gate.store.readLink(r.gate.name, token); ok && token != good {
			t.Fatalf("%q opens", token)
		}
	})
}

// Cookies of others pass as they are, whatever the line, and none of the gate's does.
func FuzzDropCookies(f *testing.F) {
	for _, s := range []string{"a=b", "__Host-keystay=x; a=b", "a=b;__Host-keystay-x=y", ";;", "a=\"__Host-keystay=x\"", " ;\t__Host-keystay;a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := http.Header{"Cookie": {line}}
		dropCookies(h)
		got := strings.Join(h["Cookie"], "")
		if !strings.Contains(line, cookiePrefix) {
			if got != line {
				t.Fatalf("%q became %q", line, got)
			}
			return
		}
		var kept []string
		for _, pair := range strings.Split(line, ";") {
			if pair = strings.Trim(pair, " \t\r\n"); pair != "" && !strings.HasPrefix(pair, cookiePrefix) {
				kept = append(kept, pair)
			}
		}
		var left []string
		for _, pair := range strings.Split(got, ";") {
			if pair = strings.Trim(pair, " \t\r\n"); pair != "" {
				left = append(left, pair)
			}
		}
		if strings.Join(kept, ";") != strings.Join(left, ";") {
			t.Fatalf("of %q is left %q", line, got)
		}
	})
}

// What is read of Basic is what net/http reads, or nothing.
func FuzzBasic(f *testing.F) {
	for _, s := range []string{"Basic YWRhOndpbmQ=", "basic  Og==", "Bearer x", "Basic YWRhOndpbmR=", "Basic \n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		user, password, ok := parseBasic(field)
		if !ok {
			return
		}
		scheme, rest, _ := strings.Cut(field, " ")
		r := &http.Request{Header: http.Header{"Authorization": {scheme + " " + strings.TrimLeft(rest, " ")}}}
		u, p, same := r.BasicAuth()
		if !same || u != user || p != password || len(user) > MaxUser || len(password) > signin.MaxPassword {
			t.Fatalf("%q: %q %q, and net/http %q %q", field, user, password, u, p)
		}
	})
}

// Wherever a visitor is sent back to is on this host, and a path that a header can have.
func FuzzLocal(f *testing.F) {
	for _, s := range []string{"/", "//x", "/\\x", "/a?b#c", "https://x", "/.well-known/keystay/sign-out", "/\t/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		to := ascii(local(text))
		if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) || strings.ContainsAny(to, "\t\r\n\x00 ") || isOwnPath(beforeAny(to, "?#")) {
			t.Fatalf("%q leads to %q", text, to)
		}
	})
}
