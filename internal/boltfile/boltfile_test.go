package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/boltfile"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = 4096

// empty is a file as bbolt makes it: two meta pages, a list of free pages, and a
// leaf without keys.
func empty() []byte {
	b := make([]byte, 4*page)
	for i := range uint64(2) {
		meta(b, i, 3, 2, 4)
	}
	header(b, 2, 0x10, 0)
	header(b, 3, 0x02, 0)
	return b
}

func header(b []byte, id uint64, flags, count uint16) {
	p := b[id*page:]
	binary.NativeEndian.PutUint64(p, id)
	binary.NativeEndian.PutUint16(p[8:], flags)
	binary.NativeEndian.PutUint16(p[10:], count)
}

func meta(b []byte, id, root, freelist, high uint64) {
	header(b, id, 0x04, 0)
	m := b[id*page+16:]
	binary.NativeEndian.PutUint32(m, 0xED0CDAED)
	binary.NativeEndian.PutUint32(m[4:], 2)
	binary.NativeEndian.PutUint32(m[8:], page)
	for at, v := range map[int]uint64{16: root, 32: freelist, 40: high, 48: id} {
		binary.NativeEndian.PutUint64(m[at:], v)
	}
	sum := fnv.New64a()
	sum.Write(m[:56])
	binary.NativeEndian.PutUint64(m[56:], sum.Sum64())
}

// element writes the i-th element of a branch page.
func element(b []byte, id uint64, i int, key byte, child uint64) {
	e := b[id*page+16+uint64(i)*16:]
	pos := uint32(page - 16 - 16*i - 8 + i)
	binary.NativeEndian.PutUint32(e, pos)
	binary.NativeEndian.PutUint32(e[4:], 1)
	binary.NativeEndian.PutUint64(e[8:], child)
	e[pos] = key
}

func check(b []byte) error { return boltfile.Check(bytes.NewReader(b), int64(len(b))) }

// Damage that would make bbolt panic, or run until its stack is full, is found
// before. The files of real records are tried in package relay.
func TestCheckFindsWhatBboltDiesOf(t *testing.T) {
	if err := check(empty()); err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(b []byte) []byte{
		"nothing":        func([]byte) []byte { return nil },
		"text":           func([]byte) []byte { return bytes.Repeat([]byte("text "), 4000) },
		"cut":            func(b []byte) []byte { return b[:3*page] },
		"one meta page":  func(b []byte) []byte { clear(b[page : 2*page]); return b },
		"the other":      func(b []byte) []byte { clear(b[:page]); return b },
		"the free list":  func(b []byte) []byte { clear(b[2*page : 3*page]); return b },
		"the leaf":       func(b []byte) []byte { clear(b[3*page:]); return b },
		"many elements":  func(b []byte) []byte { header(b, 3, 0x02, 9999); return b },
		"elements":       func(b []byte) []byte { header(b, 3, 0x02, 3); return b },
		"an empty node":  func(b []byte) []byte { header(b, 3, 0x01, 0); return b },
		"a long page":    func(b []byte) []byte { b[3*page+12] = 1; return b },
		"free and used":  func(b []byte) []byte { header(b, 2, 0x10, 1); b[2*page+16] = 3; return b },
		"many free":      func(b []byte) []byte { header(b, 2, 0x10, 0xffff); b[2*page+20] = 0xff; return b },
		"free meta":      func(b []byte) []byte { header(b, 2, 0x10, 1); return b },
		"a page of page": func(b []byte) []byte { copy(b[3*page:], b[2*page:3*page]); return b },
		"itself": func(b []byte) []byte {
			header(b, 3, 0x01, 1)
			element(b, 3, 0, 'a', 3)
			return b
		},
		"out of order": func(b []byte) []byte {
			b = append(b, make([]byte, 2*page)...)
			meta(b, 0, 3, 2, 6)
			meta(b, 1, 3, 2, 6)
			header(b, 3, 0x01, 2)
			element(b, 3, 0, 'b', 4)
			element(b, 3, 1, 'a', 5)
			header(b, 4, 0x02, 0)
			header(b, 5, 0x02, 0)
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(damage(empty())); !errors.Is(err, boltfile.ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Whatever the bytes are, Check comes to an end.
func FuzzCheck(f *testing.F) {
	f.Add(empty())
	f.Fuzz(func(t *testing.T, b []byte) { check(b) })
}

func ExampleCheck() {
	file := []byte("this was a record once")
	fmt.Println(boltfile.Check(bytes.NewReader(file), int64(len(file))))
	// Output: not what bbolt wrote: it has 22 bytes
}
