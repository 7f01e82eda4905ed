package limits

import (
	"crypto/ed25519"
	"sync"
	"sync/atomic"
	"time"
)

// validationBytes is how much a CA's validation of a name may carry each way: it is let
// in whatever the limits say, and is a handshake alone.
const validationBytes = 64 << 10

// A Visit is one visitor's stream.
type Visit struct {
	owners *Owners
	at     [2]*account    // of the name and of the identity
	counts [2]bool        // which of them count it among their streams
	paced  [2]bool        // which of them bound its bandwidth
	month  [2]bool        // for which of them its bytes count
	waited [2]atomic.Bool // it had to wait for that account, and that was counted
	once   sync.Once

	validation bool
	in, out    Pacer
}

// Begin counts a visitor of a name that an identity serves. With a reason it does
// not count, and is to be refused. A CA's validation is never refused, and may carry
// little.
func (o *Owners) Begin(name string, key ed25519.PublicKey, validation bool) (*Visit, Reason) {
	v, why := o.begin(name, key, validation)
	if why != None {
		o.Counts.Add(why)
	}
	return v, why
}

func (o *Owners) begin(name string, key ed25519.PublicKey, validation bool) (*Visit, Reason) {
	override := o.overrideOf(name, key) // without the lock
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readyLocked()
	v := &Visit{owners: o, validation: validation, at: o.accountsLocked(name, key, override)}
	v.in.visit, v.out.visit, v.in.in = v, v, true
	v.in.left.Store(validationBytes)
	v.out.left.Store(validationBytes)
	v.counts = [2]bool{true, override.Streams == 0}
	v.paced = [2]bool{true, override.Bandwidth == 0}
	v.month = [2]bool{true, override.BytesPerMonth == 0}
	rates := [2]bool{true, override.ConnsPerSecond == 0}
	now := o.now()
	if !validation {
		for i, a := range v.at {
			switch {
			case v.counts[i] && over(a.streams, a.limit.Streams):
				return nil, a.of
			case rates[i] && a.came.after(now, a.rate) > 0:
				return nil, a.of + 1
			case v.month[i] && a.spent():
				return nil, a.of + 2
			}
		}
		for i, a := range v.at {
			if rates[i] {
				a.came.take(now, a.rate)
			}
		}
	}
	for i, a := range v.at {
		a.visits++
		if v.counts[i] {
			a.streams++
		}
	}
	return v, None
}

// End makes the stream count no more. It may be called several times, and for a nil
// Visit.
func (v *Visit) End() {
	if v == nil {
		return
	}
	v.once.Do(func() {
		v.owners.mu.Lock()
		defer v.owners.mu.Unlock()
		for i, a := range v.at {
			a.visits--
			if v.counts[i] {
				a.streams--
			}
		}
	})
}

// In is the pace of the bytes to the remote, as a copying asks for it.
func (v *Visit) In() *Pacer { return &v.in }

// Out is the pace of the bytes from the remote.
func (v *Visit) Out() *Pacer { return &v.out }

// A Pacer says when the bytes of one direction of a stream may go.
type Pacer struct {
	visit *Visit
	in    bool
	left  atomic.Int64 // what a validation may still carry this way, in bytes
}

func (p *Pacer) of(a *account) *pace {
	if p.in {
		return &a.in
	}
	return &a.out
}

// Reserve takes up to n bytes of what may go, and returns how many it has taken and
// after what wait they may go. None is that no more may go, ever.
func (p *Pacer) Reserve(n int) (granted int, wait time.Duration) {
	v := p.visit
	if v.validation {
		if n = int(min(int64(n), p.left.Load())); n <= 0 {
			return 0, 0
		}
	}
	for i, a := range v.at {
		if v.month[i] && !v.validation && a.spent() {
			v.owners.Counts.Add(a.of + 2)
			return 0, 0
		}
		if v.paced[i] {
			n = p.of(a).portion(n, v.owners.began)
		}
	}
	for i, a := range v.at {
		if v.paced[i] {
			if w := p.of(a).reserve(n, v.owners.began); w > 0 {
				wait = max(wait, w)
				if v.waited[i].CompareAndSwap(false, true) {
					v.owners.Counts.Add(a.of + 3)
				}
			}
		}
	}
	p.count(n)
	return n, wait
}

// Return gives n bytes of a reservation back that did not go.
func (p *Pacer) Return(n int) {
	if n == 0 {
		return
	}
	for i, a := range p.visit.at {
		if p.visit.paced[i] {
			p.of(a).put(n)
		}
	}
	p.count(-n)
}

// count counts n bytes for the month, and for a validation.
func (p *Pacer) count(n int) {
	v := p.visit
	if v.validation {
		p.left.Add(-int64(n))
	}
	for i, a := range v.at {
		if used := a.used.Load(); v.month[i] && used != nil {
			used.bytes.Add(int64(n))
		}
	}
}
