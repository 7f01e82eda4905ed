// Package budget shares memory out among those that may make a process hold it,
// and knows how much there is.
//
// Nobody's memory is looked at: whoever is about to hold some takes it from a
// [Share] first, in coarse pieces, and puts it back. What cannot be taken is not
// held.
package budget

import (
	"math"
	"sync"
)

// Floor is what each share may have as long as anything is free, in bytes.
// Beyond it a share may have twice the square of the free part: with f of the
// budget free, 2·f² of it. So a single greedy share gets half of the budget, and
// n greedy ones, which come one after the other and give nothing back, leave one
// part in 2n until Floor is more than that allows them. With a share in
// proportion to what is free, ten or twenty would leave nothing.
const Floor = 128 << 10

// A Budget is memory for several shares. Its methods may be called from any
// goroutine.
type Budget struct {
	limit int64

	mu   sync.Mutex
	used int64
	peak int64
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Limit is how many bytes there are.
func (b *Budget) Limit() int64 { return b.limit }

// Used is how many bytes are taken now, and Peak the most there were at once,
// which is never above Limit.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Peak is the most bytes that were taken at once.
func (b *Budget) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.peak
}

// Share returns a new share, with nothing taken.
func (b *Budget) Share() *Share { return &Share{budget: b} }

// A Share is what one party has taken of a budget. A nil Share has no limit.
type Share struct {
	budget *Budget
	used   int64 // guarded by budget.mu
}

// Take takes between least and most bytes, as many as the share may have, and
// returns how many: 0 if these would be fewer than least.
func (s *Share) Take(least, most int) int {
	if s == nil {
		return most
	}
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	n := int(min(int64(most), s.leftLocked()))
	if n < least || n <= 0 {
		return 0
	}
	s.used += int64(n)
	b.used += int64(n)
	b.peak = max(b.peak, b.used)
	return n
}

// leftLocked is how much more the share may have: with n more, that is
//
//	used + n <= max(Floor, 2·(free - n)² / limit)
func (s *Share) leftLocked() int64 {
	free := s.budget.limit - s.budget.used
	n := min(free, Floor-s.used)
	// 2n² - b·n + c >= 0, up to the smaller root.
	limit := float64(s.budget.limit)
	b := 4*float64(free) + limit
	c := 2*float64(free)*float64(free) - limit*float64(s.used)
	if c > 0 {
		n = max(n, int64(2*c/(b+math.Sqrt(b*b-8*c))))
	}
	return max(0, min(n, free))
}

// Left is how many bytes Take would give now.
func (s *Share) Left() int64 {
	if s == nil {
		return 1<<63 - 1
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.leftLocked()
}

// Put gives n bytes back.
func (s *Share) Put(n int) {
	if s == nil || n == 0 {
		return
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.used -= int64(n)
	s.budget.used -= int64(n)
	if s.used < 0 || s.budget.used < 0 {
		panic("budget: more was put back than was taken")
	}
}

// Used is how many bytes the share has.
func (s *Share) Used() int64 {
	if s == nil {
		return 0
	}
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.used
}
