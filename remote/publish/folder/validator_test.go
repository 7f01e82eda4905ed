package folder_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"keystay/remote/publish/folder"
)

// A file has a strong ETag and a date, and who has it already gets 304 without it.
func TestVisitorWhoHasTheFileGets304(t *testing.T) {
	f, _ := site(t, folder.Options{}, map[string]string{"a.txt": "content"})
	settle()
	res := get(f, "/a.txt")
	tag, date := res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	if !strings.HasPrefix(tag, `"`) || date != long.Format(http.TimeFormat) {
		t.Fatalf("ETag %s, Last-Modified %s", tag, date)
	}
	for _, c := range []struct {
		header []string
		want   int
	}{
		{[]string{"If-None-Match", tag}, 304},
		{[]string{"If-None-Match", "W/" + tag}, 304},
		{[]string{"If-None-Match", `"x", ` + tag}, 304},
		{[]string{"If-None-Match", "*"}, 304},
		{[]string{"If-None-Match", `"x"`}, 200},
		{[]string{"If-None-Match", `"x"`, "If-Modified-Since", date}, 200}, // RFC 9110, section 13.2.2
		{[]string{"If-Modified-Since", date}, 304},
		{[]string{"If-Modified-Since", long.Add(-time.Second).Format(http.TimeFormat)}, 200},
		{[]string{"If-Match", tag}, 200},
		{[]string{"If-Match", `"x"`}, 412},
		{[]string{"If-Unmodified-Since", long.Add(-time.Second).Format(http.TimeFormat)}, 412},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			res := ask(f, method, "/a.txt", c.header...)
			text := body(t, res)
			if res.StatusCode != c.want || (text == "content") != (c.want == 200 && method == "GET") {
				t.Errorf("%s with %v: %s %q, want %d", method, c.header, res.Status, text, c.want)
			}
			if c.want == 304 && res.Header.Get("ETag") != tag {
				t.Errorf("304 with ETag %s", res.Header.Get("ETag"))
			}
		}
	}
}

// The ETag is another one whenever the content is, also where tools set the time of
// modification back, and where the file is as long as before.
func TestETagChangesWithTheContent(t *testing.T) {
	f, dir := site(t, folder.Options{}, nil)
	seen := make(map[string]string)
	for i, put := range []func(text string){
		func(text string) { write(t, dir, map[string]string{"a.txt": text}) },
		func(text string) { write(t, dir, map[string]string{"a.txt": text}) },
		func(text string) { // another file in its place
			write(t, dir, map[string]string{"new.txt": text})
			if err := os.Rename(filepath.Join(dir, "new.txt"), filepath.Join(dir, "a.txt")); err != nil {
				t.Fatal(err)
			}
		},
		func(text string) { write(t, dir, map[string]string{"a.txt": text + text}) },
	} {
		put(fmt.Sprint("content ", i))
		settle()
		tag := get(f, "/a.txt").Header.Get("ETag")
		if tag == "" || seen[tag] != "" {
			t.Errorf("ETag %s of %d was that of %s", tag, i, seen[tag])
		}
		seen[tag] = fmt.Sprint(i)
		if again := get(f, "/a.txt").Header.Get("ETag"); again != tag {
			t.Errorf("%s, then %s", tag, again)
		}
	}
}

// A file that is changed all the time is never answered with 304, whatever the clock
// of the file system tells apart.
func TestNoETagWhileTheFileMayStillChangeUnseen(t *testing.T) {
	f, dir := site(t, folder.Options{}, nil)
	for i := range 200 {
		text := fmt.Sprintf("%03d", i)
		write(t, dir, map[string]string{"a.txt": text})
		tag := get(f, "/a.txt").Header.Get("ETag")
		text = fmt.Sprintf("%03d", i+1)
		write(t, dir, map[string]string{"a.txt": text})
		header := []string{"If-None-Match", tag}
		if tag == "" {
			header = nil
		}
		if got := body(t, get(f, "/a.txt", header...)); got != text {
			t.Fatalf("%q, want %q", got, text)
		}
	}
}

// A date from the future, or of this very second, is not told.
func TestDateThatProvesNothingIsNotTold(t *testing.T) {
	f, dir := site(t, folder.Options{}, map[string]string{"a.txt": "a"})
	for _, at := range []time.Time{time.Now(), time.Now().Add(time.Hour)} {
		if err := os.Chtimes(filepath.Join(dir, "a.txt"), at, at); err != nil {
			t.Fatal(err)
		}
		res := get(f, "/a.txt", "If-Modified-Since", at.Format(http.TimeFormat))
		if time.Since(at) >= time.Second {
			t.Skip("the machine was so slow that the date tells something by now")
		}
		if res.StatusCode != 200 || res.Header.Get("Last-Modified") != "" {
			t.Errorf("%s, Last-Modified %s", res.Status, res.Header.Get("Last-Modified"))
		}
	}
}

// Parts of a file are served, as one and as several, and only of the version that the
// visitor has the beginning of.
func TestPartsAreServed(t *testing.T) {
	f, _ := site(t, folder.Options{}, map[string]string{"a.txt": "0123456789", "empty.txt": ""})
	settle()
	tag := get(f, "/a.txt").Header.Get("ETag")
	date := long.Format(http.TimeFormat)
	for _, c := range []struct {
		header []string
		status int
		part   string // Content-Range
		want   string
	}{
		{[]string{"Range", "bytes=0-3"}, 206, "bytes 0-3/10", "0123"},
		{[]string{"Range", "bytes=7-"}, 206, "bytes 7-9/10", "789"},
		{[]string{"Range", "bytes=-2"}, 206, "bytes 8-9/10", "89"},
		{[]string{"Range", "bytes=5-99"}, 206, "bytes 5-9/10", "56789"},
		{[]string{"Range", "bytes=10-"}, 416, "bytes */10", ""},
		{[]string{"Range", "lines=1-2"}, 416, "", ""},
		{[]string{"Range", "bytes=0-3", "If-Range", tag}, 206, "bytes 0-3/10", "0123"},
		{[]string{"Range", "bytes=0-3", "If-Range", date}, 206, "bytes 0-3/10", "0123"},
		{[]string{"Range", "bytes=0-3", "If-Range", `"x"`}, 200, "", "0123456789"},
		{[]string{"Range", "bytes=0-3", "If-Range", "W/" + tag}, 200, "", "0123456789"},
		{[]string{"Range", "bytes=0-3", "If-None-Match", tag}, 304, "", ""},
		{[]string{"Range", "bytes=" + strings.Repeat("0-0,", 16) + "1-1"}, 200, "", "0123456789"},
	} {
		res := get(f, "/a.txt", c.header...)
		text := body(t, res)
		if res.StatusCode != c.status || res.Header.Get("Content-Range") != c.part || c.want != "" && text != c.want {
			t.Errorf("%v: %s, %q, %q", c.header, res.Status, res.Header.Get("Content-Range"), text)
		}
	}
	res := get(f, "/a.txt", "Range", "bytes=0-1,8-9")
	if text := body(t, res); res.StatusCode != 206 || !strings.HasPrefix(res.Header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(text, "\r\n01\r\n") || !strings.Contains(text, "Content-Type: text/plain; charset=utf-8") {
		t.Errorf("%s: %s", res.Status, text)
	}
	if res := get(f, "/empty.txt", "Range", "bytes=0-"); res.StatusCode == 206 {
		t.Errorf("a part of nothing: %s", res.Status)
	}
	if got := get(f, "/a.txt").Header.Get("Accept-Ranges"); got != "bytes" {
		t.Errorf("Accept-Ranges %q", got)
	}
}
