package relay

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"keystay/internal/keyname"
)

// A Remote is one run of a device that is connected, with its links.
type Remote struct {
	Identity string // the label made from its key
	Run      uint64 // the number of the run; a later start has a higher one
	Agent    string // its program and version, by its own word
	Names    []string
	Links    []RemoteLink
}

// A RemoteLink is one link of a Remote.
type RemoteLink struct {
	Address netip.AddrPort
	Since   time.Time
	RTT     time.Duration // 0 while unknown
	Streams int           // visitors on the link, those on lanes too
	Lanes   int
	Away    bool // it gets no new visitors: the remote, or the relay, ends it
}

// A Which says which remotes are meant. The zero value is all of them.
type Which struct {
	Identity string         // those of this identity, by the label made from its key
	Name     string         // those that serve this name
	Address  netip.AddrPort // the one with a link from there
	Contains string         // those that have this in their identity, a name, an address or their program, whatever its case
}

// errCursor is the error of a cursor that Remotes has not made.
var errCursor = errors.New("no cursor of a list of remotes")

// Remotes returns up to n remotes that are connected, in an order that does not
// change while they stay, from the one after the cursor on; an empty cursor is the
// beginning. Next is empty at the end, else the cursor of what follows.
func (s *Server) Remotes(w Which, cursor string, n int) (list []Remote, next string, err error) {
	s.init()
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(after) != len(runKey{}) && cursor != "" {
		return nil, "", errCursor
	}
	var last runKey
	w.Contains = strings.ToLower(w.Contains)
	for _, run := range runsOf(s.presence.links(), after) {
		switch {
		case !slices.ContainsFunc(run.sessions, w.means):
		case len(list) == n:
			return list, base64.RawURLEncoding.EncodeToString(last[:]), nil
		default:
			list = append(list, describe(run.sessions))
			last = run.key
		}
	}
	return list, "", nil
}

// A runKey is a run's place in the list: its identity, its number and its id.
type runKey [ed25519.PublicKeySize + 8 + 16]byte

func keyOf(sess *session) (k runKey) {
	n := copy(k[:], sess.key)
	binary.BigEndian.PutUint64(k[n:], sess.run.Number)
	copy(k[n+8:], sess.run.ID[:])
	return k
}

// A sortedRun is a run with its sessions.
type sortedRun struct {
	key      runKey
	sessions []*session
}

// runsOf returns the runs of sessions, sorted, that come after a place. It is
// done on a copy of what there is, so that nobody waits for a long list.
func runsOf(all []*session, after []byte) (runs []sortedRun) {
	at := make(map[runKey]int)
	for _, sess := range all {
		k := keyOf(sess)
		if len(after) > 0 && bytes.Compare(k[:], after) <= 0 {
			continue
		}
		i, ok := at[k]
		if !ok {
			i = len(runs)
			at[k] = i
			runs = append(runs, sortedRun{key: k})
		}
		runs[i].sessions = append(runs[i].sessions, sess)
	}
	slices.SortFunc(runs, func(a, b sortedRun) int { return bytes.Compare(a.key[:], b.key[:]) })
	return runs
}

// describe returns what is to be said of the sessions of one run.
func describe(run []*session) Remote {
	first := run[0]
	r := Remote{Identity: keyname.Label(first.key, ""), Run: first.run.Number, Agent: first.agent.Value()}
	for _, sess := range run {
		for _, name := range sess.granted() {
			if !slices.Contains(r.Names, name) {
				r.Names = append(r.Names, name)
			}
		}
		r.Links = append(r.Links, RemoteLink{
			Address: addrPort(sess.link.RemoteAddr()),
			Since:   time.Unix(sess.since, 0).UTC(),
			RTT:     sess.link.RTT(),
			Streams: sess.link.NumStreams(),
			Lanes:   sess.link.NumLanes(),
			Away:    sess.away.Load(),
		})
	}
	slices.Sort(r.Names)
	slices.SortFunc(r.Links, func(a, b RemoteLink) int { return a.Address.Compare(b.Address) })
	return r
}

// means reports whether a session is meant.
func (w Which) means(sess *session) bool {
	return (w.Identity == "" || keyname.Label(sess.key, "") == w.Identity) &&
		(w.Name == "" || slices.Contains(sess.granted(), w.Name)) &&
		(w.Address == netip.AddrPort{} || addrPort(sess.link.RemoteAddr()) == w.Address) &&
		(w.Contains == "" || has(sess, w.Contains))
}

// has reports whether a session has a text, in lower case, in what is shown of it.
func has(sess *session, part string) bool {
	return slices.ContainsFunc(sess.granted(), func(name string) bool { return strings.Contains(name, part) }) ||
		strings.Contains(addrPort(sess.link.RemoteAddr()).String(), part) ||
		strings.Contains(strings.ToLower(sess.agent.Value()), part) ||
		strings.Contains(keyname.Label(sess.key, ""), part)
}
