package folder

import (
	"io/fs"
	"testing"
	"time"
)

// A fileOf is what a file system tells of a file that knows no more than this.
type fileOf struct {
	fs.FileInfo
	size int64
	at   time.Time
}

func (f fileOf) Size() int64        { return f.size }
func (f fileOf) ModTime() time.Time { return f.at }
func (f fileOf) Sys() any           { return nil }

// A file has no ETag for as long as it may change again within the same tick of its
// file system's clock, which on some is two seconds long.
func TestETagWaitsForTheClockOfTheFileSystem(t *testing.T) {
	fine, coarse := time.Unix(1e9, 1), time.Unix(1e9, 0)
	for _, c := range []struct {
		at    time.Time
		after time.Duration
		want  bool
	}{
		{fine, 0, false}, {fine, 99 * time.Millisecond, false}, {fine, 100 * time.Millisecond, true},
		{coarse, 100 * time.Millisecond, false}, {coarse, 2*time.Second - 1, false}, {coarse, 2 * time.Second, true},
		{fine, -time.Hour, true}, // another machine's clock
	} {
		if tag := etag(fileOf{at: c.at}, "", c.at.Add(c.after)); (tag != "") != c.want {
			t.Errorf("%v after %v: %q", c.after, c.at, tag)
		}
	}
	now := coarse.Add(time.Hour)
	seen := make(map[string]bool)
	for _, tag := range []string{etag(fileOf{at: fine}, "", now), etag(fileOf{at: coarse}, "", now), etag(fileOf{at: fine, size: 1}, "", now), etag(fileOf{at: fine}, "br", now), etag(fileOf{at: fine}, "gzip", now)} {
		if seen[tag] || len(tag) != 18 {
			t.Errorf("%s twice, or no tag", tag)
		}
		seen[tag] = true
	}
}
