package urlpath_test

import (
	"net/url"
	"path"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/urlpath"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A path that services read alike is plain, and read as it is meant.
func TestPlainPaths(t *testing.T) {
	for in, want := range map[string]string{
		"/":                              "/",
		"/a":                             "/a",
		"/a/":                            "/a/",
		"/a/b.c/d-1_2.html":              "/a/b.c/d-1_2.html",
		"/a%20b":                         "/a b",
		"/a+b":                           "/a+b",
		"/~user/":                        "/~user/",
		"/a(b)/(c)/((d))/(ab(c))/(1)":    "/a(b)/(c)/((d))/(ab(c))/(1)",
		"/.well-known/keystay":           "/.well-known/keystay",
		"/..a/.b/...c":                   "/..a/.b/...c",
		"/100%25":                        "/100%",
		"/a%25b":                         "/a%b",
		"/pkg_1.0~1-2.deb":               "/pkg_1.0~1-2.deb",
		"/v1/x:method":                   "/v1/x:method",
		"/@user/$a,b=c&d'(e)*!":          "/@user/$a,b=c&d'(e)*!",
		"/%C3%BCber":                     "/über",
		"/über":                          "/über",
		"/%E6%97%A5%E6%9C%AC":            "/日本",
		"/%41pi":                         "/Api",
		"/a|b{c}^\"<>":                   "/a|b{c}^\"<>",
		"/x%C2%B2":                       "/x²",
		"/%F0%9F%98%80":                  "/😀",
		"/" + strings.Repeat("a/", 1000): "/" + strings.Repeat("a/", 1000),
	} {
		if got, plain := urlpath.Clean(in); got != want || !plain {
			t.Errorf("%.60q: %.60q, plain %v; want %.60q", in, got, plain, want)
		}
	}
}

// A path that services read in different ways is not plain, and read as the most do.
func TestOtherPathsAreNotPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "/",
		"*":                    "/*",
		"a":                    "/a",
		"//":                   "/",
		"//a":                  "/a",
		"/a//b":                "/a/b",
		"/a//":                 "/a/",
		"/.":                   "/",
		"/..":                  "/",
		"/../../a":             "/a",
		"/a/./b":               "/a/b",
		"/a/../b":              "/b",
		"/a/..":                "/",
		"/a/b/..":              "/a/",
		"/a/b/.":               "/a/b/",
		"/a/%2e%2e/b":          "/b",
		"/a/.%2E/b":            "/b",
		"/%2eb":                "/.b",
		"/a%2Fb":               "/a/b",
		"/a%2f":                "/a/",
		"/a%5cb":               "/a/b",
		`/a\b`:                 "/a/b",
		`/a\..\b`:              "/b",
		"/a;x=1/b":             "/a/b",
		"/a;x=1":               "/a",
		"/;/a":                 "/a",
		"/;":                   "/",
		"/x/..;/a":             "/a",
		"/x/..;y=1/a":          "/a",
		"/x/.;/a":              "/x/a",
		"/x/%2e%2e%3b/a":       "/a",
		"/a%3Bx":               "/a",
		"/%2561":               "/%61",
		"/%252e%252e/a":        "/%2e%2e/a",
		"/a%":                  "/a%",
		"/a%2":                 "/a%2",
		"/a%zz":                "/a%zz",
		"/%u002e":              "/%u002e",
		"/a%00":                "/a\x00",
		"/a%0d%0aX:%20y":       "/a\r\nX: y",
		"/a%7f":                "/a\x7f",
		"/a%09":                "/a\t",
		"/a%C2%80":             "/a\u0080",
		"/a.":                  "/a.",
		"/a./b":                "/a./b",
		"/a%20/b":              "/a /b",
		"/.../b":               "/.../b",
		"/a::$DATA":            "/a::$DATA",
		"/a:$I30":              "/a:$I30",
		"/ADMINI~1":            "/ADMINI~1",
		"/secret~1.htm":        "/secret~1.htm",
		"/(S(x))/a":            "/(S(x))/a",
		"/a/(A(x)F(y))b":       "/a/(A(x)F(y))b",
		"/%28s(x))/a":          "/(s(x))/a",
		"/a?b":                 "/a?b",
		"/a%3Fb":               "/a?b",
		"/a#b":                 "/a#b",
		"/a%23b":               "/a#b",
		"/%c0%af":              "/\xc0\xaf",
		"/\xff":                "/\xff",
		"/%EF%BC%8Fa":          "/／a",
		"/%E2%80%A6/a":         "/…/a",
		"/a%E2%88%95b":         "/a∕b",
		"/%EF%BC%85%32%66":     "/％2f",
		"/u%CC%88ber":          "/u\u0308ber",
		"/a%EF%BC%9Bb":         "/a；b",
		"/..%c0%af../etc":      "/..\xc0\xaf../etc",
		"/a%E2%80%A4%E2%80%A4": "/a․․",
	} {
		if got, plain := urlpath.Clean(in); got != want || plain {
			t.Errorf("%q: %q, plain %v; want %q", in, got, plain, want)
		}
	}
}

func TestHasIsByWholeSegments(t *testing.T) {
	for _, c := range []struct {
		path, prefix string
		has          bool
	}{
		{"/", "/", true}, {"/a", "/", true}, {"/a", "", true},
		{"/api", "/api", true}, {"/api/", "/api", true}, {"/api/x", "/api", true},
		{"/api", "/api/", true}, {"/api/", "/api/", true}, {"/api/x", "/api/", true},
		{"/apis", "/api", false}, {"/apis", "/api/", false}, {"/", "/api/", false},
		{"/API", "/api", false}, {"/x/api", "/api", false},
	} {
		if got := urlpath.Has(c.path, c.prefix); got != c.has {
			t.Errorf("Has(%q, %q) is %v", c.path, c.prefix, got)
		}
	}
}

// Paths that services without case take for one are one when they are folded.
func TestFoldMakesSpellingsOne(t *testing.T) {
	for _, same := range [][]string{
		{"/admin", "/ADMIN", "/Admin"},
		{"/kelvin", "/\u212Aelvin"},
		{"/sass", "/\u017Fa\u017F\u017F"},
		{"/über", "/ÜBER", "/u\u0308ber", "/U\u0308ber"},
		{"/straße", "/STRASSE"},
		{"/files", "/\uFB01les"},
		{"/admin", "/adm\u0131n", "/ADM\u0130N", "/adm\u200Cin", "/\u00ADadmin", "/ad\u2060min\uFE0F", "/admin\u034F", "/admin\U000E0041"},
		{"/σίσυφος", "/ΣΊΣΥΦΟΣ"},
		{"/a b", "/a+b", "/A+B", "/a\uFF0Bb"},
	} {
		for _, s := range same[1:] {
			if urlpath.Fold(s) != urlpath.Fold(same[0]) {
				t.Errorf("%q is %q, %q is %q", s, urlpath.Fold(s), same[0], urlpath.Fold(same[0]))
			}
		}
	}
}

// A path is not written out in another form to be looked at: some characters are 18
// others in that form, and a visitor may send 64 KiB of them with each request.
func TestCleanTakesNoMoreMemoryThanAPathHas(t *testing.T) {
	for _, one := range []string{"\uFDFA", "\uFB03", "\uAC01", "\u0301", "\u00E9"} {
		path := "/" + strings.Repeat(one, 60000/len(one))
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		urlpath.Clean(path)
		runtime.ReadMemStats(&behind)
		if n := behind.TotalAlloc - before.TotalAlloc; n > uint64(6*len(path)) {
			t.Errorf("%d bytes of %q take %d", len(path), one, n)
		}
	}
}

// readers are rules by which servers read a path.
var readers = map[string]func(string) string{
	"net/url and path": func(p string) string {
		u, err := url.ParseRequestURI(p)
		if err != nil {
			return "error"
		}
		return clean(u.Path)
	},
	"a servlet container": func(p string) string { // parameters, then escapes, then dots
		segments := strings.Split(p, "/")
		for i, s := range segments {
			segments[i], _, _ = strings.Cut(s, ";")
		}
		p, err := url.PathUnescape(strings.Join(segments, "/"))
		if err != nil {
			return "error"
		}
		return clean(p)
	},
	"dots first": func(p string) string {
		p, err := url.PathUnescape(clean(p))
		if err != nil {
			return "error"
		}
		return p
	},
	"decoded twice": func(p string) string {
		for range 2 {
			if once, err := url.PathUnescape(p); err == nil {
				p = once
			}
		}
		return clean(p)
	},
	"Windows": func(p string) string {
		p, _ = url.PathUnescape(p)
		segments := strings.Split(strings.ReplaceAll(p, `\`, "/"), "/")
		for i, s := range segments {
			if s != "." && s != ".." {
				segments[i] = strings.TrimRight(s, ". ")
			}
		}
		return clean(strings.Join(segments, "/"))
	},
	"a string of C": func(p string) string {
		p, _ = url.PathUnescape(p)
		p, _, _ = strings.Cut(p, "\x00")
		return clean(p)
	},
}

// clean is path.Clean with a slash at the end where there was one.
func clean(p string) string {
	c := path.Clean("/" + p)
	if c != "/" && strings.HasSuffix(p, "/") {
		c += "/"
	}
	return c
}

// A path that is plain is read alike by all readers. Reading is idempotent.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"/", "/a/b", "/a/../b", "/%2e%2e/a", "/a;b/c", `/a\b`, "//a", "/%25%32%66", "/ü", "/a/.", "*", "/%C3%BC//", "/a%20", "/b::$DATA", "/;a/..;/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, plain := urlpath.Clean(p)
		if !strings.HasPrefix(got, "/") || strings.Contains(got, "//") || strings.Contains(got+"/", "/../") || strings.Contains(got+"/", "/./") || strings.ContainsAny(got, `\;`) {
			t.Fatalf("%q is read as %q", p, got)
		}
		again, stillPlain := urlpath.Clean((&url.URL{Path: got}).EscapedPath())
		if again != got || plain && !stillPlain {
			t.Fatalf("%q is read as %q, and that as %q (plain: %v, %v)", p, got, again, plain, stillPlain)
		}
		if !urlpath.Has(got, "/") || !urlpath.Has(got, got) {
			t.Fatalf("%q is not below itself", got)
		}
		if !plain {
			return
		}
		if folded := urlpath.Fold(got); urlpath.Fold(folded) != folded {
			t.Fatalf("%q folds to %q, and that to %q", got, folded, urlpath.Fold(folded))
		}
		for name, read := range readers {
			if other := read(p); other != got {
				t.Fatalf("%q is read as %q, and by %s as %q", p, got, name, other)
			}
		}
	})
}
