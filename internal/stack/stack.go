// Package stack makes the stack of a goroutine as large as what it is about to do
// needs.
//
// A goroutine begins with 2 KiB. A stack that is too small is copied to one of twice
// the size, with each frame that is on it by then. To write to a TLS connection takes
// more than 2 KiB, so that the stack is copied twice. At the beginning of a goroutine,
// where there are few frames, it is copied once, and that costs little.
package stack

// What a goroutine needs that writes to a link, and what one needs that does so from
// many calls down, in bytes.
const (
	shallow = 2 << 10
	deep    = 5 << 10
)

// Grow makes the stack 4 KiB at least.
//
//go:noinline
func Grow() {
	var b [shallow]byte
	touch(b[:])
}

// GrowDeep makes the stack 8 KiB at least.
//
//go:noinline
func GrowDeep() {
	var b [deep]byte
	touch(b[:])
}

//go:noinline
func touch(b []byte) { b[0] = 1 }
