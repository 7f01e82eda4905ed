package publish_test

import (
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"keystay/remote/publish"
)

// The names of trailers that a request announces count for the memory that they take, which is
// more than that of a head of as many bytes.
func TestNamesOfTrailersCountForMemory(t *testing.T) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var names strings.Builder
	for i := 0; names.Len() < 60<<10; i++ {
		names.WriteString("," + string([]byte{letters[i/36/36%36], letters[i/36%36], letters[i%36]}))
	}
	target, release := heldTarget(t)
	p := serveTarget(t, target)
	takes := func(trailer string, visitors int64) (heap, counted int64) {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		used := publish.RequestMemory(target).Used()
		for range visitors {
			last := publish.RequestMemory(target).Used()
			c := p.visitor("http/1.1")
			go io.WriteString(c, crlf("POST / HTTP/1.1\nHost: $H\nX-A0: held\nTransfer-Encoding: chunked\nTrailer: "+trailer+"\n\n1\nx\n"))
			t.Cleanup(func() { c.Close() })
			for deadline := time.Now().Add(patience); publish.RequestMemory(target).Used() < last+publish.RequestCost; <-time.After(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("it is not there")
				}
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		return int64(now.HeapAlloc-before.HeapAlloc) / visitors, (publish.RequestMemory(target).Used() - used) / visitors
	}
	takes("a", 2) // what is made once
	without, _ := takes("a", 8)
	with, counted := takes(names.String()[1:], 8)
	t.Logf("%d KiB, %d KiB without names, %d KiB counted", with>>10, without>>10, counted>>10)
	if with = (with - without) / 2; with > counted+counted/4 { // the service here keeps them, too
		t.Errorf("names of trailers take %d KiB, and %d KiB are counted", with>>10, counted>>10)
	}
	release()
}
