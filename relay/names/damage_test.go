package names_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/internal/hint"
	"keystay/relay/names"
)

const pageSize = 4096

// A soundRecord is a record with n names, as a file, and whose each name is.
type soundRecord struct {
	t     *testing.T
	file  []byte
	names []string
	key   ed25519.PublicKey
}

func newSoundRecord(t *testing.T, n int) *soundRecord {
	t.Helper()
	id := newIdentity(t)
	r := &soundRecord{t: t, key: id.key.Public().(ed25519.PublicKey)}
	for i := range n {
		r.names = append(r.names, fmt.Sprintf("%d-a-name-that-is-rather-long-to-fill-pages.x%d.relay.test", i, i%7))
	}
	dir := t.TempDir()
	g := openGrants(t, dir)
	if err := errors.Join(g.Give(r.key, 0, r.names...), g.Close()); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.file, err = os.ReadFile(filepath.Join(dir, "names.db")); err != nil {
		t.Fatal(err)
	}
	return r
}

// pages is how many pages the file has that were written.
func (r *soundRecord) pages() int {
	n := len(r.file) / pageSize
	for n > 0 && len(bytes.Trim(r.file[(n-1)*pageSize:n*pageSize], "\x00")) == 0 {
		n--
	}
	return n
}

// open opens a copy of the file that damage has changed.
func (r *soundRecord) open(damage func([]byte) []byte) (*names.Grants, error) {
	r.t.Helper()
	dir := r.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "names.db"), damage(bytes.Clone(r.file)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return names.OpenGrants(dir)
}

// givesNothingAway checks that no stranger gets any of the names.
func (r *soundRecord) givesNothingAway(g *names.Grants) {
	r.t.Helper()
	n := &names.Names{Grants: g}
	n.Begin(zone)
	stranger := newIdentity(r.t).key.Public().(ed25519.PublicKey)
	for _, name := range r.names {
		if _, err := n.Claim(context.Background(), names.Claimant{Name: name, Key: stranger}); err == nil {
			r.t.Errorf("%s is given to a stranger", name)
			return
		}
	}
}

// damages calls f with each way to damage a file in one place.
func (r *soundRecord) damages(f func(what string, damage func([]byte) []byte)) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(b []byte) {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
	}
	for p := range r.pages() {
		at := func(b []byte) []byte { return b[p*pageSize : (p+1)*pageSize] }
		f(fmt.Sprintf("page %d zeroed", p), func(b []byte) []byte { clear(at(b)); return b })
		f(fmt.Sprintf("page %d of 0xff", p), func(b []byte) []byte { copy(at(b), bytes.Repeat([]byte{0xff}, pageSize)); return b })
		f(fmt.Sprintf("page %d of noise", p), func(b []byte) []byte { noise(at(b)); return b })
		f(fmt.Sprintf("page %d with its second half of noise", p), func(b []byte) []byte { noise(at(b)[pageSize/2:]); return b })
		f(fmt.Sprintf("page %d in the place of the next", p), func(b []byte) []byte { copy(b[(p+1)*pageSize:], at(b)); return b[:len(r.file)] })
		f(fmt.Sprintf("cut at page %d", p), func(b []byte) []byte { return b[:p*pageSize] })
		f(fmt.Sprintf("cut in page %d", p), func(b []byte) []byte { return b[:p*pageSize+1+random.IntN(pageSize-1)] })
	}
	for i := range 8 * r.pages() {
		n := 1 << random.IntN(8)
		at := random.IntN(r.pages()*pageSize - n)
		f(fmt.Sprintf("%d: %d bytes of noise at %d", i, n, at), func(b []byte) []byte { noise(b[at : at+n]); return b })
	}
}

// Whatever one place of names.db looks like, the relay either opens it with all
// names where they were, or says that it is damaged and what to do.
func TestDamagedRecordGivesNoNameAway(t *testing.T) {
	for _, n := range []int{3, 40} {
		t.Run(fmt.Sprintf("%d names", n), func(t *testing.T) {
			r := newSoundRecord(t, n)
			refused, whole := 0, 0
			r.damages(func(what string, damage func([]byte) []byte) {
				g, err := r.open(damage)
				if err != nil {
					refused++
					if !errors.Is(err, names.ErrDamaged) || len(hint.All(err)) == 0 {
						t.Errorf("%s: %v", what, err)
					}
					return
				}
				whole++
				r.givesNothingAway(g)
				if err := g.Close(); err != nil {
					t.Errorf("%s: Close: %v", what, err)
				}
				if t.Failed() {
					t.Fatal(what)
				}
			})
			if refused == 0 || whole == 0 {
				t.Errorf("%d were refused and %d opened: nothing was tried", refused, whole)
			}
		})
	}
}

// What is no record at all is named as one that is damaged, also an empty file:
// a new relay has none.
func TestFilesThatAreNoRecord(t *testing.T) {
	noise := make([]byte, 3*pageSize)
	rand.NewChaCha8([32]byte{}).Read(noise)
	for name, content := range map[string][]byte{
		"empty": {}, "one byte": {1}, "text": bytes.Repeat([]byte("names: none\n"), 2000), "noise": noise, "zeroes": make([]byte, 8*pageSize),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "names.db"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := names.OpenGrants(dir); !errors.Is(err, names.ErrDamaged) || len(hint.All(err)) != 2 {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "names.db")); err != nil || !bytes.Equal(b, content) {
			t.Errorf("%s: the file is not what it was, %v", name, err)
		}
	}
}

// A folder in the place of names.db is an error with a hint as well.
func TestFolderInThePlaceOfTheRecord(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "names.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := names.OpenGrants(dir)
	if err == nil || errors.Is(err, names.ErrDamaged) || !strings.Contains(err.Error(), "it is a folder") || len(hint.All(err)) != 2 {
		t.Errorf("got %v", err)
	}
}

// A record that is damaged while the relay runs gives nothing away either, and
// ends neither the process nor those who are connected.
func TestRecordDamagedWhileItIsOpen(t *testing.T) {
	r := newSoundRecord(t, 150)
	for p := range r.pages() {
		for what, damage := range map[string]func(f *os.File) error{
			"zeroed": func(f *os.File) error { _, err := f.WriteAt(make([]byte, pageSize), int64(p)*pageSize); return err },
			"0xff": func(f *os.File) error {
				_, err := f.WriteAt(bytes.Repeat([]byte{0xff}, pageSize), int64(p)*pageSize)
				return err
			},
			"cut here": func(f *os.File) error { return f.Truncate(int64(p) * pageSize) },
		} {
			g, err := r.open(func(b []byte) []byte { return b })
			if err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(g.File(), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(damage(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			r.givesNothingAway(g)
			id := newIdentity(t).key.Public().(ed25519.PublicKey)
			n := &names.Names{Grants: g}
			n.Begin(zone)
			_, _ = n.Claim(context.Background(), names.Claimant{Name: "new.relay.test", Key: id})
			_ = g.Sweep()
			r.givesNothingAway(g)
			_ = g.Close()
			if t.Failed() {
				t.Fatalf("page %d %s", p, what)
			}
		}
	}
}

// How long it takes to open a record with 100,000 names: a takeover waits for it.
func BenchmarkOpenManyNames(b *testing.B) {
	dir := b.TempDir()
	g, err := names.OpenGrants(dir)
	if err != nil {
		b.Fatal(err)
	}
	const each = 10_000
	for i := range 100_000 / each {
		names := make([]string, each)
		for j := range names {
			names[j] = fmt.Sprintf("n%07d.relay.test", (i*each+j)*7919%10_000_000)
		}
		key := make([]byte, 32)
		key[0], key[1] = byte(i), byte(i>>8)
		if err := g.Give(key, 0, names...); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		g.Close()
		if err := g.Reopen(); err != nil {
			b.Fatal(err)
		}
	}
	g.Close()
}
