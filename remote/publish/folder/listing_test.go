package folder_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"keystay/remote/publish/folder"
)

var linked = regexp.MustCompile(`<a href="([^"]*)"><bdi>([^<]*)</bdi>`)

// A listing shows what is served and nothing else, folders first, sorted, with each
// name escaped and each link leading there.
func TestListingShowsWhatIsServed(t *testing.T) {
	files := map[string]string{
		"b.txt": "b", "A.txt": "a", "folder/x": "", "Zebra/x": "", ".env": secret, ".git/config": secret,
		`<script>alert(1)"'&.txt`: "odd", "a b%zz#?.txt": "", "javascript:alert(1)": "", "ä.txt": "", "..x": "",
	}
	f, dir := site(t, folder.Options{Listing: true}, files)
	link(t, dir, "out", "../secret.txt")
	link(t, dir, "inside", "b.txt")
	link(t, dir, "env", ".env")
	res := get(f, "/")
	page := body(t, res)
	var names []string
	for _, m := range linked.FindAllStringSubmatch(page, -1) {
		if m[1] == "../" {
			continue
		}
		names = append(names, m[2])
		if !strings.HasPrefix(m[1], "./") {
			t.Errorf("a link to %s", m[1])
		}
		if res := get(f, "/"+strings.TrimPrefix(strings.ReplaceAll(m[1], "&amp;", "&"), "./")); res.StatusCode != 200 {
			t.Errorf("%s: %s", m[1], res.Status)
		}
	}
	want := "[folder/ Zebra/ &lt;script&gt;alert(1)&#34;&#39;&amp;.txt a b%zz#?.txt A.txt b.txt inside javascript:alert(1) ä.txt]"
	if got := fmt.Sprint(names); strings.Contains(page, "<script>") || got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(page, `href="../"`) {
		t.Errorf("%v", res.Header)
	}
	if page := body(t, get(f, "/folder/")); !strings.Contains(page, `href="../"`) || !strings.Contains(page, "<h1>/folder/</h1>") {
		t.Error(page)
	}
}

// A folder with an index.html is not listed, and none is where nobody has asked for
// it.
func TestListingIsOnlyWhereItIsWanted(t *testing.T) {
	f, _ := site(t, folder.Options{Listing: true}, map[string]string{"a/index.html": "index", "b/c": ""})
	if got := body(t, get(f, "/a/")); got != "index" {
		t.Errorf("%q", got)
	}
	for target, want := range map[string]int{"/b/": 200, "/b": 301, "/none/": 404, "/b/c/": 404} {
		if res := get(f, target); res.StatusCode != want {
			t.Errorf("%s: %s", target, res.Status)
		}
	}
	plain, _ := site(t, folder.Options{}, map[string]string{"b/c": ""})
	if res := get(plain, "/b/", "Accept", "text/html"); res.StatusCode != 404 || !strings.Contains(body(t, res), "no index.html") {
		t.Error(res.Status)
	}
	if res := get(plain, "/"); res.StatusCode != 404 {
		t.Error(res.Status)
	}
}

// A folder with very much in it is listed in part, and says so.
func TestListingHasABound(t *testing.T) {
	f, dir := site(t, folder.Options{Listing: true}, nil)
	if page := body(t, get(f, "/")); !strings.Contains(page, "There is nothing here.") {
		t.Error(page)
	}
	for i := range 5010 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page := body(t, get(f, "/"))
	if n := len(linked.FindAllString(page, -1)); n != 5000 || !strings.Contains(page, "There is more here") {
		t.Errorf("%d are shown", n)
	}
}

// An unread is a visitor that takes nothing of what it has asked for before it is released.
type unread struct {
	*httptest.ResponseRecorder
	released <-chan struct{}
}

// Write implements http.ResponseWriter.
func (u unread) Write(p []byte) (int, error) {
	if u.Code == 200 {
		<-u.released
	}
	return u.ResponseRecorder.Write(p)
}

// WriteString implements io.StringWriter.
func (u unread) WriteString(s string) (int, error) { return u.Write([]byte(s)) }

// Visitors who leave long listings unread make the device hold so many of them at once and
// no more, and of one network a part. Files, and short listings, are there as ever.
func TestLongListingsThatNobodyReadsAreBounded(t *testing.T) {
	f, dir := site(t, folder.Options{Listing: true}, map[string]string{"a.txt": "x", "short/b.txt": "x"})
	for i := range 130 { // 77 KB
		if err := os.WriteFile(filepath.Join(dir, strings.Repeat("x", 240)+fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		var wg sync.WaitGroup
		list := func(path, from string) int {
			w := httptest.NewRecorder()
			done := make(chan struct{})
			wg.Go(func() {
				defer close(done)
				r := httptest.NewRequest("GET", "https://xyz.relay.test"+path, nil)
				r.RemoteAddr = from
				f.ServeHTTP(unread{w, released}, r)
			})
			synctest.Wait()
			select {
			case <-done:
			default:
				return 0 // it is on its way
			}
			return w.Code
		}
		for i := range folder.MaxLongEach {
			if got := list("/", fmt.Sprintf("[2001:db8::%x]:1", i)); got != 0 {
				t.Fatalf("long listing %d of a network: %d", i, got)
			}
		}
		if got := list("/", "[2001:db8::ffff]:1"); got != 503 {
			t.Errorf("one more of a network: %d", got)
		}
		for i := folder.MaxLongEach; i < folder.MaxLong; i++ {
			if got := list("/", fmt.Sprintf("[2001:db8:0:%x::%x]:1", i/folder.MaxLongEach, i)); got != 0 {
				t.Fatalf("long listing %d: %d", i, got)
			}
		}
		if got := list("/", "192.0.2.1:1"); got != 503 {
			t.Errorf("one more: %d", got)
		}
		for _, path := range []string{"/short/", "/a.txt"} {
			if res := get(f, path); res.StatusCode != 200 {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
		close(released)
		wg.Wait()
		if got := list("/", "192.0.2.1:1"); got != 200 {
			t.Errorf("behind them: %d", got)
		}
	})
}
