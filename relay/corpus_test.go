package relay_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keystay/framing"
	"keystay/internal/keyname"
	"keystay/sni"
)

// corpusFile holds 2,411 hellos from browsers and fuzzing corpora. It is not
// part of the repository.
const corpusFile = "../../shared/hellos.tar.gz"

// corpus returns the hellos of corpusFile, or skips the test.
func corpus(t *testing.T) (hellos [][]byte) {
	t.Helper()
	f, err := os.Open(corpusFile)
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not here", corpusFile)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return hellos
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		hellos = append(hellos, b)
	}
}

// onWire is a connection that delivers bytes and then an end.
type onWire struct {
	captured
	r io.Reader
}

func (w *onWire) Read(p []byte) (int, error)      { return w.r.Read(p) }
func (w *onWire) SetReadDeadline(time.Time) error { return nil }

// forDevice is the hello asking for another name, of the same length, in the
// zone; or nil if it asks for none, or for one that is too short.
func forDevice(b []byte) []byte {
	h, err := sni.Read(&onWire{r: bytes.NewReader(b)}, nil)
	n := len(h.ServerName) - len("."+zone)
	if err != nil || n < 1 || n > 63 || bytes.Count(b, h.ServerName) != 1 {
		return nil
	}
	name := strings.Repeat("x", n) + "." + zone
	return bytes.Replace(b, h.ServerName, []byte(name), 1)
}

// The hellos of the corpus go through a live relay, as they are and asking for
// a name of the device instead: what asks for a name that the device holds
// reaches it whole, and nothing else does.
func TestOnlyHellosForAHeldNameReachItsDevice(t *testing.T) {
	hellos := corpus(t)
	r := newRig(t, nil)
	id := newIdentity(t)
	d := r.device(id).echo("device")
	held := make(map[string]bool)
	for n := 1; n <= 20; n++ {
		name := strings.Repeat("x", n) + "." + zone
		if err := d.Claim(t.Context(), framing.Claim{Name: name}); err != nil {
			t.Fatal(err)
		}
		held[name] = true
	}
	work := make(chan []byte)
	var routed, refused, closed atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for b := range work {
				h, err := sni.Read(&onWire{r: bytes.NewReader(b)}, nil)
				name, _ := h.Name()
				c := r.dial()
				c.Write(b)
				c.CloseWrite()
				got, rerr := io.ReadAll(c)
				c.Close()
				switch {
				case err != nil: // closed, mostly with an alert
					closed.Add(1)
					want := ""
					if alert, ok := sni.AlertFor(err); ok {
						want = "\x15\x03\x03\x00\x02\x02" + string(byte(alert))
					}
					if string(got) != want || want != "" && rerr != nil {
						t.Errorf("%v got %.30q, %v; want %q", err, got, rerr, want)
					}
				case held[name]:
					routed.Add(1)
					if string(got) != "device:"+string(b) || rerr != nil {
						t.Errorf("a hello for %s came back as %.30q, %v", name, got, rerr)
					}
				case keyname.Is(strings.TrimSuffix(name, "."+zone)): // which the relay, just started, waits for
					refused.Add(1)
					if string(got) != internalError || rerr != nil {
						t.Errorf("a hello for %q got %.30q, %v", name, got, rerr)
					}
				default:
					refused.Add(1)
					if string(got) != unrecognizedName || rerr != nil {
						t.Errorf("a hello for %q got %.30q, %v", name, got, rerr)
					}
				}
			}
		})
	}
	for _, b := range hellos {
		work <- b
		if moved := forDevice(b); moved != nil {
			work <- moved
		}
	}
	close(work)
	wg.Wait()
	t.Logf("%d hellos: %d routed, %d refused, %d closed", len(hellos), routed.Load(), refused.Load(), closed.Load())
	if routed.Load() < 100 || refused.Load() < 100 || closed.Load() < 100 {
		t.Error("too few of one kind")
	}
	r.reaches("x."+zone, "device")
}
