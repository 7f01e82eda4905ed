package framing

import "sync"

// The sizes of chunks in bytes. The larger a piece is, the less it costs to
// pass it on; but most streams carry little, and one that nobody reads must not
// hold much more memory than it has credit.
const (
	smallChunk  = 4 << 10
	mediumChunk = 16 << 10
	largeChunk  = 64 << 10
)

// chunks is data in order, in pooled pieces.
type chunks struct {
	list []*chunk
	len  int
}

type chunk struct {
	data       []byte
	start, end int
	pool       *sync.Pool // that the chunk goes back to
}

// The pools are shared by all links, as a chunk is worth keeping beyond the life
// of a stream.
var (
	smallChunks  = chunkPool(smallChunk)
	mediumChunks = chunkPool(mediumChunk)
	largeChunks  = chunkPool(largeChunk)
)

func chunkPool(size int) *sync.Pool {
	p := new(sync.Pool)
	p.New = func() any { return &chunk{data: make([]byte, size), pool: p} }
	return p
}

// newChunk returns an empty chunk, of a size that fits where there will be n
// bytes in all.
func newChunk(n int) *chunk {
	switch {
	case n <= smallChunk:
		return smallChunks.Get().(*chunk)
	case n <= largeChunk:
		return mediumChunks.Get().(*chunk)
	}
	return largeChunks.Get().(*chunk)
}

func (c *chunk) free() {
	c.start, c.end = 0, 0
	c.pool.Put(c)
}

func (c *chunks) append(p []byte) {
	c.len += len(p)
	for len(p) > 0 {
		var last *chunk
		if n := len(c.list); n > 0 {
			last = c.list[n-1]
		}
		if last == nil || last.end == len(last.data) {
			last = newChunk(c.len)
			c.list = append(c.list, last)
		}
		n := copy(last.data[last.end:], p)
		last.end += n
		p = p[n:]
	}
}

func (c *chunks) read(p []byte) (n int) {
	for len(p) > 0 && len(c.list) > 0 {
		first := c.list[0]
		k := copy(p, first.data[first.start:first.end])
		first.start += k
		n += k
		p = p[k:]
		if first.start == first.end {
			first.free()
			c.list[0] = nil
			c.list = c.list[1:]
		}
	}
	if c.len -= n; c.len == 0 {
		c.list = nil
	}
	return n
}

// pop takes the first piece out.
func (c *chunks) pop() *chunk {
	first := c.list[0]
	c.list[0] = nil
	c.list = c.list[1:]
	if c.len -= first.end - first.start; c.len == 0 {
		c.list = nil
	}
	return first
}

func (c *chunks) free() {
	for _, k := range c.list {
		k.free()
	}
	*c = chunks{}
}
