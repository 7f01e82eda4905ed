// Package boltfile looks whether a file of bbolt is whole, before bbolt opens
// it. bbolt itself panics in a damaged file, in goroutines of its own too, or
// follows a page that leads to itself until the stack is full, and nothing in
// the program can recover from that.
//
// What is checked is the form: every page that can be reached, the order of the
// keys, and the list of free pages. What the keys and values mean is for the
// caller to check.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The form of the file, as of version 2 (bbolt's internal/common). Numbers have
// the byte order of the machine.
const (
	magic   = 0xED0CDAED
	version = 2

	headerSize  = 16 // id (8), flags (2), count (2), overflow (4)
	elementSize = 16 // of branch and leaf pages
	bucketSize  = 16 // root (8), sequence (8)
	metaSize    = 64
	metaSummed  = 56 // what the sum of a meta page covers

	branchFlag   = 0x01
	leafFlag     = 0x02
	metaFlag     = 0x04
	freelistFlag = 0x10

	maxPageSize = 16 << 20 // as in bbolt
	minPageSize = 1 << 10
)

var order = binary.NativeEndian

// ErrDamaged is wrapped by every error of Check that is about the content of
// the file.
var ErrDamaged = errors.New("not what bbolt wrote")

func damagedf(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, a...))
}

// A meta is what is needed of a meta page.
type meta struct {
	pageSize             int64
	root, freelist, high uint64
	txid                 uint64
}

// A checker is one look through a file.
type checker struct {
	r    io.ReaderAt
	meta meta
	used []bool // pages that were reached, by their number
}

// Check looks through a file of bbolt of size bytes. The error wraps ErrDamaged
// when the file is not whole; else it says why it could not be read.
func Check(r io.ReaderAt, size int64) error {
	m, err := readMeta(r, size)
	if err != nil {
		return err
	}
	// Every page below the mark was written, and so the file is long enough: a
	// shorter one was cut.
	if m.high < 4 || m.high > uint64(size/m.pageSize) {
		return damagedf("it has %d bytes, and %d pages of %d are written", size, m.high, m.pageSize)
	}
	c := &checker{r: r, meta: m, used: make([]bool, m.high)}
	c.used[0], c.used[1] = true, true
	if err := c.tree(m.root, nil, nil); err != nil {
		return err
	}
	return c.free()
}

// readMeta reads both meta pages. bbolt goes on with one of them when the other
// is not whole. It would lose the last transaction, and with it perhaps a name.
// A crash does not leave that behind: what counts of a meta page is smaller than
// what a disk writes at once.
func readMeta(r io.ReaderAt, size int64) (m meta, err error) {
	var first, second meta
	head := make([]byte, headerSize+metaSize)
	if size < int64(len(head)) {
		return m, damagedf("it has %d bytes", size)
	}
	if _, err := r.ReadAt(head, 0); err != nil {
		return m, err
	}
	if first, err = parseMeta(head, 0); err != nil {
		return m, err
	}
	if size < 2*first.pageSize {
		return m, damagedf("it has %d bytes", size)
	}
	if _, err := r.ReadAt(head, first.pageSize); err != nil {
		return m, err
	}
	if second, err = parseMeta(head, 1); err != nil {
		return m, err
	}
	if second.pageSize != first.pageSize || first.txid+1 != second.txid && second.txid+1 != first.txid {
		return m, damagedf("its two meta pages do not belong together")
	}
	if second.txid > first.txid {
		return second, nil
	}
	return first, nil
}

func parseMeta(b []byte, id uint64) (meta, error) {
	body := b[headerSize:]
	sum := fnv.New64a()
	sum.Write(body[:metaSummed])
	switch {
	case order.Uint64(b) != id || order.Uint16(b[8:]) != metaFlag,
		order.Uint32(body) != magic, order.Uint32(body[4:]) != version,
		order.Uint64(body[metaSummed:]) != sum.Sum64():
		return meta{}, damagedf("page %d is no meta page", id)
	}
	m := meta{pageSize: int64(order.Uint32(body[8:])), root: order.Uint64(body[16:]), freelist: order.Uint64(body[32:]),
		high: order.Uint64(body[40:]), txid: order.Uint64(body[48:])}
	if m.pageSize < minPageSize || m.pageSize > maxPageSize {
		return meta{}, damagedf("pages of %d bytes", m.pageSize)
	}
	return m, nil
}

// read returns a page with those that belong to it, each of which may be reached
// once.
func (c *checker) read(id uint64) ([]byte, error) {
	if id < 2 || id >= c.meta.high {
		return nil, damagedf("there is no page %d", id)
	}
	page := make([]byte, c.meta.pageSize)
	at := int64(id) * c.meta.pageSize
	if _, err := c.r.ReadAt(page, at); err != nil {
		return nil, err
	}
	more := uint64(order.Uint32(page[12:]))
	if order.Uint64(page) != id || more >= c.meta.high-id {
		return nil, damagedf("page %d is not what it was", id)
	}
	for i := id; i <= id+more; i++ {
		if c.used[i] {
			return nil, damagedf("page %d is used twice", i)
		}
		c.used[i] = true
	}
	if more == 0 {
		return page, nil
	}
	page = make([]byte, (more+1)*uint64(c.meta.pageSize))
	_, err := c.r.ReadAt(page, at)
	return page, err
}

// tree checks a page and all below it. Its keys are not less than low and less
// than high; nil is no bound. It ends, since no page can be reached twice.
func (c *checker) tree(id uint64, low, high []byte) error {
	page, err := c.read(id)
	if err != nil {
		return err
	}
	switch order.Uint16(page[8:]) {
	case leafFlag:
		return c.leaf(id, page, low, high)
	case branchFlag:
		return c.branch(id, page, low, high)
	}
	return damagedf("page %d is neither branch nor leaf", id)
}

func (c *checker) branch(id uint64, page, low, high []byte) error {
	n := int(order.Uint16(page[10:]))
	if n == 0 {
		return damagedf("page %d is empty", id)
	}
	keys := make([][]byte, n+1)
	keys[n] = high
	for i := range n {
		var err error
		if keys[i], _, err = piece(page, id, headerSize+i*elementSize, 0, n); err != nil {
			return err
		}
	}
	for i := range n {
		if !ordered(low, keys[i], i > 0) || keys[i+1] != nil && bytes.Compare(keys[i], keys[i+1]) >= 0 {
			return damagedf("page %d has its keys out of order", id)
		}
		child := order.Uint64(page[headerSize+i*elementSize+8:])
		if err := c.tree(child, keys[i], keys[i+1]); err != nil {
			return err
		}
		low = keys[i]
	}
	return nil
}

// leaf checks a leaf page, which may be one inside a value.
func (c *checker) leaf(id uint64, page, low, high []byte) error {
	n := int(order.Uint16(page[10:]))
	for i := range n {
		element := headerSize + i*elementSize
		key, rest, err := piece(page, id, element, 4, n)
		if err != nil {
			return err
		}
		if !ordered(low, key, i > 0) || high != nil && bytes.Compare(key, high) >= 0 {
			return damagedf("page %d has its keys out of order", id)
		}
		low = key
		size := order.Uint32(page[element+12:])
		if int64(size) > int64(len(rest)) {
			return damagedf("page %d has an element that lies outside", id)
		}
		switch order.Uint32(page[element:]) {
		case 0:
		case 1:
			if err := c.bucket(id, rest[:size]); err != nil {
				return err
			}
		default:
			return damagedf("page %d has an element of an unknown kind", id)
		}
	}
	return nil
}

func (c *checker) bucket(id uint64, value []byte) error {
	if len(value) < bucketSize {
		return damagedf("page %d has half a bucket", id)
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, nil, nil)
	}
	inside := value[bucketSize:]
	if len(inside) < headerSize || order.Uint16(inside[8:]) != leafFlag {
		return damagedf("page %d has half a bucket", id)
	}
	return c.leaf(id, inside, nil, nil)
}

// piece returns the key of an element of a page with n elements, which begins so
// far from the element as it says at pos, and all that follows it on the page.
func piece(page []byte, id uint64, element, pos, n int) (key, rest []byte, err error) {
	content := headerSize + n*elementSize
	if content > len(page) {
		return nil, nil, damagedf("page %d has more elements than room", id)
	}
	from := int64(element) + int64(order.Uint32(page[element+pos:]))
	to := from + int64(order.Uint32(page[element+pos+4:]))
	if from < int64(content) || to > int64(len(page)) {
		return nil, nil, damagedf("page %d has an element that lies outside", id)
	}
	return page[from:to:to], page[to:], nil
}

// ordered reports whether low may stand before key: it must be less, or, unless
// strict, the same.
func ordered(low, key []byte, strict bool) bool {
	d := bytes.Compare(low, key)
	return d < 0 || d == 0 && !strict
}

// free checks the list of free pages: none of them is used, or bbolt would
// write over what it holds.
func (c *checker) free() error {
	page, err := c.read(c.meta.freelist)
	if err != nil {
		return err
	}
	n, ids := uint64(order.Uint16(page[10:])), page[headerSize:]
	if n == 0xffff { // then the number stands in the first place
		n, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(page[8:]) != freelistFlag || n > uint64(len(ids)/8) {
		return damagedf("page %d does not list the free pages", c.meta.freelist)
	}
	for i := range n {
		id := order.Uint64(ids[8*i:])
		if id < 2 || id >= c.meta.high || c.used[id] {
			return damagedf("page %d is listed as free", id)
		}
		c.used[id] = true
	}
	return nil
}
