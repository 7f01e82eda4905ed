package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"keystay/e2e/internal/world"
	"keystay/framing"
)

// TestMutatedHellosNeverMislead sends hellos with mistakes in them, in pieces, to a relay as
// a program. The device gets those for its names whole, and no others; what is a hello,
// and for which name, the relay says as crypto/tls does. It survives, and holds no more
// memory than before. KEYSTAY_SOAK sends a million.
func TestMutatedHellosNeverMislead(t *testing.T) {
	t.Parallel()
	count := 50_000
	if soaking() {
		count = 1_000_000
	}
	p := startPair(t)
	var names []string
	for n := 1; n <= 30; n++ {
		names = append(names, strings.Repeat("x", n)+"."+pathZone)
	}
	d := p.link(names[0])
	if d == nil {
		return
	}
	defer d.Close()
	for _, name := range names[1:] {
		if _, err := d.Claim(t.Context(), framing.Claim{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		for {
			s, err := d.Accept()
			if err != nil {
				return
			}
			go func() {
				defer s.Close()
				fmt.Fprintf(s, "D:%s\n", s.Header().Name)
				if _, err := io.Copy(s, s); err != nil {
					s.Reset()
				}
			}()
		}
	}()
	programs, err := world.Programs()
	if err != nil {
		t.Fatal(err)
	}
	before := p.metrics()["go_memstats_heap_inuse_bytes"]
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), filepath.Join(programs, "visit"), "mutated", "-via", p.public, "-n", strconv.Itoa(count), ".")
	cmd.Stdout, cmd.Stderr = &out, &said
	start, most := time.Now(), before
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	for over := false; !over; {
		select {
		case err := <-done:
			if over = true; err != nil {
				t.Errorf("%v\n%s", err, said.String())
			}
		case <-time.After(time.Second):
		}
		most = max(most, p.metrics()["go_memstats_heap_inuse_bytes"])
	}
	routed, _ := strconv.Atoi(strings.TrimSpace(out.String()))
	t.Logf("%d hellos in %v, %d for the device; %.0f MiB of heap at most, %.0f before", count, time.Since(start).Round(time.Millisecond), routed, most/(1<<20), before/(1<<20))
	if most-before > 64<<20 {
		t.Error("the relay has taken too much memory")
	}
	if p.metrics()["keystay_panics_total"] != 0 {
		t.Error("the relay has made a mistake")
	}
	if routed < count/20 || routed > count*8/10 {
		t.Error("too few of one kind")
	}
	p.answers(world.Patience)
}
