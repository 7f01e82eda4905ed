package gate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"keystay/internal/ownfile"
)

const (
	// maxEndedUser is how many ended sessions of one user are remembered one by one.
	// With one more, all that the user had are over.
	maxEndedUser = 64
	// maxEnded is how many are of all users of a name. With one more, everyone has to
	// sign in again.
	maxEnded = 4096
	// maxEndedFile is the largest file of them that is read, in bytes.
	maxEndedFile = 1 << 20
)

// Sessions are what is remembered of sessions beside the cookies: those that were
// ended before their time, and the requests that run on because of one.
type sessions struct {
	store *Store

	writing sync.Mutex // held while a session is ended: requests do not wait for the disk
	mu      sync.Mutex
	names   map[string]*ended
	running map[string]map[*running]struct{} // by the session's ID, "" for all else
	inForce map[string]*Gate                 // of a name, the last that was put in front of it
}

// A running request is one that a rule has let in, or that no rule was for.
type running struct {
	name   string // the public name
	asked  *asked
	rule   string // the id of the rule; empty where there was none
	from   netip.Addr
	by     let
	cancel context.CancelFunc
}

// A let is what a rule lets a request in by.
type let struct {
	session *session         // nil for all else
	still   func(*rule) bool // it is good with a later rule for the same paths, too
}

// Ended are the sessions of one public name that were ended.
type ended struct {
	ids    map[endedID]int64 // when each would have ended anyway, in seconds
	before map[string]int64  // of a user, or of everyone (""): those that began until then are over
}

type endedID struct{ user, id string }

func newSessions(s *Store) *sessions {
	return &sessions{store: s, names: make(map[string]*ended), running: make(map[string]map[*running]struct{}), inForce: make(map[string]*Gate)}
}

// owner is what a session's user is called among the ended ones: no name in a file. Of
// those that links were opened by, each link is one.
func (s *sessions) owner(x *session) string {
	return encode(s.store.cookies.sum("user", x.By, x.User.Name, x.Link)[:12])
}

// over reports whether a session was ended.
func (s *sessions) over(name string, x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overLocked(name, x)
}

func (s *sessions) overLocked(name string, x *session) bool {
	e := s.endedLocked(name)
	user := s.owner(x)
	_, gone := e.ids[endedID{user, x.ID}]
	return gone || x.Began <= e.before[user] || x.Began <= e.before[""]
}

// end ends a session for good, with all that runs on because of it. An error says that
// it may live again when the process has ended.
func (s *sessions) end(name string, x *session) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.write(name, s.note(name, x))
}

// note notes that a session has ended, and returns the text of the file of its name.
func (s *sessions) note(name string, x *session) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.running[x.ID] {
		r.cancel()
	}
	e := s.endedLocked(name)
	e.forget(time.Now())
	user := s.owner(x)
	e.ids[endedID{user, x.ID}] = x.Ends
	e.bound(user, time.Now().UnixMicro())
	return e.text()
}

// bound ends more where too many sessions are remembered one by one.
func (e *ended) bound(user string, now int64) {
	if e.of(user) > maxEndedUser {
		for id := range e.ids {
			if id.user == user {
				delete(e.ids, id)
			}
		}
		e.before[user] = now
	}
	if len(e.ids) > maxEnded || len(e.before) > maxEnded {
		clear(e.ids)
		clear(e.before)
		e.before[""] = now
	}
}

// of counts the sessions of a user.
func (e *ended) of(user string) (n int) {
	for id := range e.ids {
		if id.user == user {
			n++
		}
	}
	return n
}

// forget forgets what would have ended by itself.
func (e *ended) forget(now time.Time) {
	for id, ends := range e.ids {
		if ends < now.Unix() {
			delete(e.ids, id)
		}
	}
	for user, before := range e.before {
		if time.UnixMicro(before).Add(MaxLink).Before(now) { // no session lasts longer
			delete(e.before, user)
		}
	}
}

// watch returns a context for a request of a gate; r is the request, without cancel. The
// context ends when the sign-in or the link ends that let the request in. The caller
// calls stop. Watch returns false where that has ended by now, or where another gate is
// in force that does not let the request in.
func (s *sessions) watch(ctx context.Context, of *Gate, r *running) (_ context.Context, stop func(), ok bool) {
	id := ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.inForce[r.name]; g != nil && g != of && !g.stillLets(r) {
		return nil, nil, false
	}
	if x := r.by.session; x != nil {
		if s.overLocked(r.name, x) {
			return nil, nil, false
		}
		id = x.ID
		ctx, r.cancel = context.WithDeadline(ctx, time.Unix(x.Ends, 0))
	} else {
		ctx, r.cancel = context.WithCancel(ctx)
	}
	if s.running[id] == nil {
		s.running[id] = make(map[*running]struct{}, 1)
	}
	s.running[id][r] = struct{}{}
	return ctx, func() {
		r.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running[id], r)
		if len(s.running[id]) == 0 {
			delete(s.running, id)
		}
	}, true
}

// endOthers puts a gate in force, and ends the requests of its name that its rules
// would not let in.
func (s *sessions) endOthers(g *Gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inForce[g.name] = g
	for _, all := range s.running {
		for r := range all {
			if r.name == g.name && !g.stillLets(r) {
				r.cancel()
			}
		}
	}
}

// stillLets reports whether the gate would let in a request that the gate before it has
// let in: by the same rule, and with no further rule for it.
func (g *Gate) stillLets(r *running) bool {
	if len(g.rules) == 0 { // all is open
		return true
	}
	rules, ok := g.rulesOf(r.asked)
	if !ok || slices.ContainsFunc(rules, func(rule *rule) bool { return !slices.Contains(r.asked.passes, rule.id) }) {
		return false
	}
	for _, rule := range g.rules {
		if rule.id == r.rule {
			return rule.isFrom(r.from) && r.by.still(rule)
		}
	}
	return r.rule == ""
}

// file is where the ended sessions of a name are kept.
func (s *sessions) file(name string) string {
	return filepath.Join(s.store.dir, endedFolder, ownfile.Name(name))
}

// endedLocked returns the ended sessions of a name. Where they cannot be read, all
// that there were are over.
func (s *sessions) endedLocked(name string) *ended {
	e := s.names[name]
	if e != nil {
		return e
	}
	e = &ended{ids: make(map[endedID]int64), before: make(map[string]int64)}
	if s.store.dir != "" {
		err := e.read(s.file(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.before[""] = time.Now().UnixMicro()
			_ = s.write(name, e.text()) // what is in memory counts
		}
	}
	s.names[name] = e
	return e
}

// read reads a file of write.
func (e *ended) read(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() > maxEndedFile {
		return errors.New("too long")
	}
	b, err := ownfile.Read(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var user, id string
		var at int64
		if n, err := fmt.Sscanf(lines.Text(), "session %s %s %d", &user, &id, &at); n == 3 && err == nil {
			e.ids[endedID{user, id}] = at
		} else if n, err := fmt.Sscanf(lines.Text(), "user %s %d", &user, &at); n == 2 && err == nil {
			e.before[user] = at
		} else if n, err := fmt.Sscanf(lines.Text(), "everyone %d", &at); n == 1 && err == nil {
			e.before[""] = at
		} else {
			return errors.New("a line that is not well formed")
		}
	}
	return lines.Err()
}

// text is what is kept of the ended sessions.
func (e *ended) text() []byte {
	var b bytes.Buffer
	for user, before := range e.before {
		if user == "" {
			fmt.Fprintf(&b, "everyone %d\n", before)
		} else {
			fmt.Fprintf(&b, "user %s %d\n", user, before)
		}
	}
	for id, ends := range e.ids {
		fmt.Fprintf(&b, "session %s %s %d\n", id.user, id.id, ends)
	}
	return b.Bytes()
}

// write writes the file of a name, where anything is kept.
func (s *sessions) write(name string, text []byte) error {
	if s.store.dir == "" {
		return nil
	}
	if err := ownfile.Write(s.file(name), text); err != nil {
		return s.store.unusable("write to", s.file(name), err)
	}
	return nil
}
