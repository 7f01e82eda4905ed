package folder

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"keystay/internal/publicaddr"
)

const (
	// maxMade is how many listings are made at once.
	maxMade = 4
	// maxLong is how many long listings are on their way at once, and maxLongEach how many
	// of these to one address, or one network of 64 bits of IPv6: a listing of maxListed
	// names may have some megabytes, which a visitor may leave unread.
	maxLong, maxLongEach = 32, 8
	// shortListing is how long one may be, in bytes, that does not count for these, and
	// longTimeout how long a visitor may take to read a longer one.
	shortListing = 64 << 10
	longTimeout  = time.Minute
)

// A crowd are the listings that take memory. The zero value has none.
type crowd struct {
	mu   sync.Mutex
	made chan struct{} // has a place for each that is being made
	long int
	by   map[netip.Prefix]int // long ones, by the network of their visitor
}

// begin waits for a place to make a listing in. Nobody has one for long.
func (c *crowd) begin(ctx context.Context) (done func(), err error) {
	c.mu.Lock()
	if c.made == nil {
		c.made = make(chan struct{}, maxMade)
	}
	c.mu.Unlock()
	select {
	case c.made <- struct{}{}:
		return func() { <-c.made }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter counts a long listing for a visitor's address, unless there are too many.
func (c *crowd) enter(remoteAddr string) (leave func(), ok bool) {
	at, _ := netip.ParseAddrPort(remoteAddr)
	from := publicaddr.OneOf(at.Addr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.long == maxLong || c.by[from] == maxLongEach {
		return nil, false
	}
	if c.by == nil {
		c.by = make(map[netip.Prefix]int)
	}
	c.long++
	c.by[from]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.long--
		if c.by[from]--; c.by[from] == 0 {
			delete(c.by, from)
		}
	}, true
}
