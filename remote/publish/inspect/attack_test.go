package inspect

import (
	"bytes"
	"compress/flate"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// allocated is what f takes from the heap, in bytes, of which the most is garbage.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Each line of JSON is moved in by its depth: a body of little text may be laid out as
// gigabytes. It is shown as it came then.
func TestDeepJSONIsNotBlownUp(t *testing.T) {
	const deep = 3000
	body := strings.Repeat("[", deep) + strings.Repeat("1,", 3000) + "1" + strings.Repeat("]", deep)
	var r readable
	if n := allocated(func() { r = laidOut(messageOf([]byte(body), "Content-Type", "application/json")) }); n > 8<<20 {
		t.Errorf("%d bytes of JSON take %d bytes", len(body), n)
	}
	if r.Kind != "text" || r.Text != body {
		t.Errorf("it is shown as %s of %d bytes", r.Kind, len(r.Text))
	}
	inString := `["` + strings.Repeat("[,", 20000) + `\"["]`
	if r := laidOut(messageOf([]byte(inString), "Content-Type", "application/json")); r.Kind != "JSON" {
		t.Errorf("what stands in a string is counted as depth: %s", r.Kind)
	}
}

// bombs are messages of a WebSocket or of gRPC, each of which stands for almost maxDecoded
// bytes.
func bombs(t *testing.T, n int, pack func([]byte) []byte) (list []frame) {
	t.Helper()
	b := pack(make([]byte, maxDecoded-1))
	if len(b) > maxFrame {
		t.Fatalf("a bomb has %d bytes", len(b))
	}
	for range n {
		list = append(list, frame{kind: "binary", data: b, size: int64(len(b)), compressed: true})
	}
	return list
}

// Messages that stand for much are read as far as one page may take, and what is kept of
// each for that page is what it shows.
func TestCompressedMessagesAreNotBlownUp(t *testing.T) {
	deflated := func(p []byte) []byte {
		var b bytes.Buffer
		z, _ := flate.NewWriter(&b, 9)
		_, _ = z.Write(p)
		_ = z.Flush()
		return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
	}
	for what, c := range map[string]*content{
		"WebSocket": {switched: true, frames: bombs(t, 200, deflated)},
		"gRPC":      {frames: bombs(t, 200, gzipped)},
	} {
		var list []frame
		if n := allocated(func() { list = inflated(c, http.Header{"Grpc-Encoding": {"gzip"}}) }); n > 12*maxInflated {
			t.Errorf("%s: %d bytes are taken", what, n)
		}
		read := 0
		for _, f := range list {
			if cap(f.data) > 2*maxFrame {
				t.Fatalf("%s: %d bytes are held", what, cap(f.data))
			}
			if !f.compressed {
				read++
			}
		}
		if read == 0 || read > maxInflated/(maxDecoded-1)+1 {
			t.Errorf("%s: %d messages are read", what, read)
		}
	}
}
