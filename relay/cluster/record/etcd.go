package record

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/internal/hint"
	"keystay/internal/outage"
	"keystay/relay/names"
)

// An etcd is how a node gets to etcd, and why nothing can be claimed there, if so. All
// that the package has there goes by one of it.
type etcd struct {
	cfg    Config
	prefix string          // with a slash
	ctx    context.Context // ends with Close
	log    *slog.Logger
	client atomic.Pointer[clientv3.Client] // nil until there is one

	away outage.Outage
	// refusal is that etcd answers and says no, as to a change where it has no room.
	refusal outage.Outage
	hurry   chan struct{} // hears when etcd has not answered; has room for one

	mu      sync.Mutex
	trouble error // why nothing can be claimed; nil when all is well
}

// why says why nothing can be claimed now, or nil.
func (e *etcd) why() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.trouble
}

// whyNot is why for what cannot be read.
func (e *etcd) whyNot() error {
	if err := e.why(); err != nil {
		return err
	}
	return names.ErrClosed
}

// fault notes why nothing can be claimed, and tells the log.
func (e *etcd) fault(err error) {
	e.mu.Lock()
	same := e.trouble != nil && e.trouble.Error() == err.Error()
	e.trouble = err
	e.mu.Unlock()
	if errors.Is(err, names.ErrDamaged) && !same {
		e.log.Error("the record of names cannot be used; no new name is given out", "err", err, hint.Attr(hint.All(err)))
	}
}

// well notes that the record is read, and etcd answers.
func (e *etcd) well() {
	e.mu.Lock()
	e.trouble = nil
	e.mu.Unlock()
	if lasted, _, told := e.away.Ends(); told {
		e.log.Info("etcd answers again", "lasted", lasted.Round(time.Second))
	}
}

// gone notes that etcd does not answer, which is told once.
func (e *etcd) gone(err error) error {
	if e.ctx.Err() != nil {
		return e.cfg.awayError(err, false)
	}
	tell, _ := e.away.Failed(1)
	err = e.cfg.awayError(err, tell)
	if was := e.why(); tell || !errors.Is(was, names.ErrClosed) || errors.Is(was, errNotYet) { // else the reason is known
		if !errors.Is(was, names.ErrDamaged) {
			e.fault(err)
		}
	}
	select {
	case e.hurry <- struct{}{}:
	default:
	}
	if tell {
		e.log.Error("etcd does not answer: what is up goes on, and no new name is given out", "err", err, hint.Attr(hint.All(err)))
	}
	return err
}
