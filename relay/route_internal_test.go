package relay

import (
	"fmt"
	"strconv"
	"testing"

	"keystay/internal/hostname"
)

// BenchmarkRoute makes a name of what a hello asks for and finds the session
// that it leads to, among few and very many names that are up.
func BenchmarkRoute(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		b.Run("names="+strconv.Itoa(n), func(b *testing.B) {
			p := &presence{names: make(map[string]*served, n)}
			asked := make([][]byte, 0, 1<<12) // not all: a hello is fresh in the cache too
			for i := range n {
				name := fmt.Sprintf("name%d.relay.test", i)
				p.names[name] = &served{sessions: []*session{{}}}
				if i%max(1, n/cap(asked)) == 0 && len(asked) < cap(asked) {
					asked = append(asked, []byte(name))
				}
			}
			r := &router{domain: "relay.test", presence: p}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				name, err := hostname.Normalize(asked[i%len(asked)])
				if err != nil || r.now(name, false).to != toSession {
					b.Fatalf("%q leads nowhere: %v", name, err)
				}
				i++
			}
		})
	}
}
