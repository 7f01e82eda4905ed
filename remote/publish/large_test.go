package publish_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"keystay/remote/publish"
)

// largeBody is how long a large body is: 41 MiB, times KEYSTAY_ROUNDS where that is
// set. With 100 it is 4.1 GB.
func largeBody() int64 {
	rounds, _ := strconv.Atoi(os.Getenv("KEYSTAY_ROUNDS"))
	return int64(max(rounds, 1)) * 41 << 20
}

// zeros is a body of so many bytes.
type zeros struct{ left int64 }

// Read implements io.Reader.
func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// live is the memory that is in use.
func live() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// watched counts the bytes of r, and looks at the memory each 16 MiB.
func watched(r io.Reader) (size, most int64) {
	for {
		n, err := io.CopyN(io.Discard, r, 16<<20)
		size, most = size+n, max(most, live())
		if err != nil {
			return size, most
		}
	}
}

// However large a body is, in either direction, little of it is in memory at a time:
// no more than the windows of HTTP/2.
func TestLargeBodiesTakeLittleMemory(t *testing.T) {
	size := largeBody()
	const most = publish.LargeUpload + 16<<20
	var before int64
	var began time.Time
	check := func(what string, got, used int64) {
		if got != size || used > before+most {
			t.Errorf("%s: %d bytes of %d, with %d MiB in memory", what, got, size, (used-before)>>20)
		}
		t.Logf("%s: %d MiB in %v, with %.1f MiB in memory", what, got>>20, time.Since(began).Round(time.Millisecond), float64(used-before)/(1<<20))
	}
	p := publishHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
			io.Copy(w, &zeros{size})
			return
		}
		got, used := watched(r.Body)
		check(r.Header.Get("X-What"), got, used)
		fmt.Fprint(w, got)
	})
	both(t, func(t *testing.T, h2 bool) {
		client := p.client(h2)
		tr := client.Transport.(*http.Transport)
		dial := tr.DialTLSContext
		tr.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err == nil {
				c.SetDeadline(time.Time{}) // it takes as long as it takes
			}
			return c, err
		}
		get := func(what string, req *http.Request) *http.Response {
			req.Header.Set("X-What", what)
			before, began = live(), time.Now()
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		for _, length := range []int64{size, -1} {
			req, _ := http.NewRequest("PUT", "https://"+domain+"/", io.NopCloser(&zeros{size}))
			req.ContentLength = length
			resp := get(fmt.Sprint("an upload with length ", length), req)
			if text := body(t, resp, nil); text != strconv.FormatInt(size, 10) {
				t.Errorf("%s %q", resp.Status, text)
			}
		}
		req, _ := http.NewRequest("GET", "https://"+domain+"/", nil)
		resp := get("a download", req)
		defer resp.Body.Close()
		got, used := watched(resp.Body)
		check("a download", got, used)
	})
}
