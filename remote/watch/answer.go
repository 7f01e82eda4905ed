package watch

import (
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/probe"
	"keystay/remote/watch/browser"
)

const (
	// askedApart is the shortest time between two questions of one identity, for each name
	// of this device.
	askedApart = 10 * time.Second
	// maxAsking is how many questions are answered at once.
	maxAsking = 4
	// maxSeen is how many connections one question can cause to the port of the name, and
	// how many to the ports beside it.
	maxSeen = 8
	// maxToldChain bounds the certificates of one sight, in bytes.
	maxToldChain = 4 << 10
)

// Errors of a question that is not answered.
var (
	// ErrAsked: the identity has asked a moment ago, or too many ask.
	ErrAsked = errors.New("there are too many questions now")
	// ErrQuestion: it is not about this name or time, or was asked before.
	ErrQuestion = errors.New("the question is not for here and now")
)

// Answers are given to the other remotes of the owner, who ask this one to look at their
// names from its network. Nobody else is answered: one question makes this device open up
// to sixteen connections.
type Answers struct {
	Watch *Watch // whose resolvers and direct way are used

	// Trusted reports whether an identity may ask.
	Trusted func(ed25519.PublicKey) bool

	// Sign signs an answer.
	Sign func(probe.Answer) []byte

	mu     sync.Mutex
	asking int
	last   map[string]time.Time // by identity and name that is asked
	nonces map[string]time.Time
}

// Answer looks, for the remote that has signed the question, at the name that it asks
// about, and returns the answer. To is the name at which the question came. It takes up to
// a minute. The error says why there is no answer.
func (a *Answers) Answer(ctx context.Context, to string, question []byte) ([]byte, error) {
	var from ed25519.PublicKey
	q, hash, err := probe.OpenQuestion(question, func(key ed25519.PublicKey) bool { from = key; return a.Trusted(key) })
	if err != nil {
		return nil, err
	}
	name, err := hostname.Normalize([]byte(q.Name))
	if err != nil || name != q.Name || q.Port < 1 || q.Port > 65535 || q.To != to || len(q.Nonce) != probe.NonceSize || !probe.IsFresh(q.Time, time.Now()) {
		return nil, ErrQuestion
	}
	if err := a.enter(string(from)+to, string(q.Nonce)); err != nil {
		return nil, err
	}
	defer a.leave()
	return a.Sign(probe.Answer{Question: hash, Time: time.Now().UTC(), Sights: a.Watch.see(ctx, q)}), nil
}

// enter takes a place for a question. Asks is the identity with the name that is asked.
func (a *Answers) enter(asks, nonce string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for n, at := range a.nonces {
		if now.Sub(at) > 2*probe.Window { // it is not fresh any more
			delete(a.nonces, n)
		}
	}
	for w, at := range a.last {
		if now.Sub(at) >= askedApart {
			delete(a.last, w)
		}
	}
	_, before := a.nonces[nonce]
	_, just := a.last[asks]
	switch {
	case before:
		return ErrQuestion
	case just || a.asking >= maxAsking:
		return ErrAsked
	}
	if a.last == nil {
		a.last, a.nonces = make(map[string]time.Time), make(map[string]time.Time)
	}
	a.last[asks], a.nonces[nonce] = now, now
	a.asking++
	return nil
}

func (a *Answers) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asking--
}

// see looks at the name of a question, at each address that DNS gives here.
func (w *Watch) see(ctx context.Context, q probe.Question) []probe.Sight {
	n := &Name{Domain: q.Name, HTTP: q.HTTP}
	direct := &Watch{Resolvers: w.Resolvers, Ways: w.Ways[:1], Roots: w.Roots}
	list, failed := direct.lookUp(ctx, n, q.Port, portsBeside(q.Port, q.Beside))
	i := slices.IndexFunc(list, func(p *probing) bool { return p.beside })
	if i < 0 {
		i = len(list)
	}
	list, beside := list[:i:i], list[i:]
	sights := make([]probe.Sight, 0, len(list)+len(failed))
	for _, f := range failed {
		sights = append(sights, told(f))
	}
	if len(list) > maxSeen {
		list = list[:maxSeen]
		sights = append(sights, probe.Sight{Step: string(AtDial), Why: "has more addresses than are looked at"})
	}
	rand.Shuffle(len(beside), func(i, j int) { beside[i], beside[j] = beside[j], beside[i] })
	list = append(list, beside[:min(len(beside), maxSeen)]...)
	seen := make([]probe.Sight, len(list))
	var wg sync.WaitGroup
	for i, p := range list {
		wg.Go(func() { seen[i] = p.see(ctx) })
	}
	wg.Wait()
	return append(sights, seen...)
}

// see makes one connection for another remote.
func (p *probing) see(ctx context.Context) (saw probe.Sight) {
	p.shape = browser.Chromium // which agrees on every group
	used := false
	r := p.connect(ctx, func(c *browser.Conn, s sight) {
		used = true
		if s.failed != nil {
			saw = told(*s.failed)
		}
		saw.Address = p.address
		chain, size := s.chain, 0
		if s.leaf != nil {
			path, err := s.path(p.roots)
			switch {
			case err == nil: // what counts has room behind the leaf
				chain = path
			case p.beside && !isLost(err): // whoever asks can judge it still less, by a part
				saw.Step, saw.Why = string(AtCertificate), "shows certificates that are not judged"
			}
		}
		for _, der := range chain {
			if size += len(der); len(saw.Chain) > 0 && size > maxToldChain {
				break
			}
			saw.Chain = append(saw.Chain, der)
		}
		if s.failed == nil && !s.bare {
			saw.Exporter, saw.Random = s.exporter[:], s.random[:]
		}
		if s.failed == nil {
			p.ask(ctx, c)
		}
	})
	if !used {
		return told(r)
	}
	return saw
}

// told is a result of a probe that was not run, for another remote.
func told(r Result) probe.Sight {
	s := probe.Sight{Step: string(r.Step), Why: r.Why}
	if r.Address.IsValid() {
		s.Address = r.Address.String()
	}
	return s
}
