package folder_test

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"keystay/remote/publish/folder"
)

// swapped asks again and again, and has a swap made after each step of a request and undone
// after each later one. It returns what was answered, and how often.
func swapped(t *testing.T, f *folder.Folder, target string, swap, undo func(), header ...string) map[int]int {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("nobody moves a folder away that is open")
	}
	statuses := make(map[int]int)
	for first, last := 0, false; !last; first++ {
		for then, end := first+1, false; !end; then++ {
			steps, done := 0, false
			f.Meanwhile(func() {
				switch steps {
				case first:
					swap()
					done = true
				case then:
					undo()
					done = false
				}
				steps++
			})
			r := get(f, target, header...)
			if text := body(t, r); strings.Contains(text, secret) {
				t.Fatalf("%s, swapped after step %d and back after %d of %d: status %d %q", target, first, then, steps, r.StatusCode, text)
			}
			statuses[r.StatusCode]++
			if done {
				undo()
			}
			last, end = steps <= first, steps <= then
		}
	}
	f.Meanwhile(nil)
	return statuses
}

// must fails the test where a step of a swap does not work.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A folder is judged by what was opened: of one that is never to be served nothing is, whenever
// in a request the path comes to lead to it, or back.
func TestNeverIsNotServedWhereThePathChangesMeanwhile(t *testing.T) {
	for _, at := range []string{"state", "state/certificates"} {
		top := t.TempDir()
		write(t, top, map[string]string{"state/identity.pem": secret, "state/certificates/identity.pem": secret, "releases/1/a.txt": "a", "releases/1/identity.pem": "none"})
		current := filepath.Join(top, "current")
		link(t, top, "current", "releases/1")
		f, err := folder.Open(current, folder.Options{Never: never(t, filepath.Join(top, "state")), Listing: true})
		must(t, err)
		lead := func(to string) func() {
			return func() {
				must(t, os.Symlink(filepath.FromSlash(to), current+"-new"), os.Rename(current+"-new", current))
			}
		}
		for _, target := range []string{"/identity.pem", "/"} {
			if all := swapped(t, f, target, lead(at), lead("releases/1")); all[http.StatusServiceUnavailable] == 0 || all[http.StatusOK] == 0 {
				t.Errorf("%s: statuses %v", at, all)
			}
			lead(at)()
			if r := get(f, target); r.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s: status %d", at, r.StatusCode)
			}
			if all := swapped(t, f, target, lead("releases/1"), lead(at)); all[http.StatusServiceUnavailable] == 0 || all[http.StatusOK] == 0 {
				t.Errorf("%s, from there: statuses %v", at, all)
			}
			lead("releases/1")()
		}
	}
}

// What is below a name is opened from what was judged by that name: a folder or a file that
// becomes a link to what is hidden, or to what is never to be served, shows nothing of that.
func TestWhatBecomesALinkShowsNothingHidden(t *testing.T) {
	for name, to := range map[string]string{"hidden": ".hidden", "never": "state"} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				"d/key.txt": "open", "d/e/key.txt": "open", "d/coded.txt": "open", "d/coded.txt.br": "open", "d/i/index.html": "open",
				"page/index.html": "open",
			}
			for _, name := range []string{"key.txt", "e/key.txt", "coded.txt", "coded.txt.br", "i/index.html", "e/" + secret + ".txt", secret + ".txt"} {
				files[to+"/"+name] = secret
			}
			_, dir := site(t, folder.Options{}, files)
			f, err := folder.Open(dir, folder.Options{Listing: true, Never: never(t, filepath.Join(dir, "state"))})
			must(t, err)
			link(t, dir, "by", "d")
			link(t, dir, "page/link.txt", "../d/e/../key.txt")
			at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
			for _, c := range []struct{ swap, to string }{
				{"d", to}, {"d/e", "../" + to + "/e"}, {"d/key.txt", "../" + to + "/key.txt"}, {"d/coded.txt.br", "../" + to + "/coded.txt.br"},
				{"d/i", "../" + to + "/i"},
			} {
				aside := at("aside")
				swap := func() { must(t, os.Rename(at(c.swap), aside), os.Symlink(filepath.FromSlash(c.to), at(c.swap))) }
				undo := func() { must(t, os.Remove(at(c.swap)), os.Rename(aside, at(c.swap))) }
				for _, target := range []string{"/d/key.txt", "/d/e/key.txt", "/d/", "/d/e/", "/d/i/", "/d/coded.txt", "/by/key.txt", "/by/e/", "/page/link.txt"} {
					all := swapped(t, f, target, swap, undo, "Accept-Encoding", "br")
					if all[http.StatusOK] == 0 || all[http.StatusNotFound]+all[http.StatusOK] == 0 {
						t.Errorf("%s, with %s: statuses %v", target, c.swap, all)
					}
				}
			}
		})
	}
}
