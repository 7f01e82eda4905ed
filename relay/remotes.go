package relay

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
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
}

// errCursor is the error of a cursor that Remotes has not made.
var errCursor = errors.New("no cursor of a list of remotes")

// Remotes returns up to n remotes that are connected, in an order that does not
// change while they stay, from the one after the cursor on; an empty cursor is the
// beginning. Next is empty at the end, else the cursor of what follows.
func (s *Server) Remotes(w Which, cursor string, n int) (list []Remote, next string, err error) {
	s.init()
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, "", errCursor
	}
	runs := s.presence.runs(w)
	keys := make([]string, 0, len(runs))
	for k := range runs {
		if k > string(after) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	if len(keys) > n {
		keys = keys[:n]
		next = base64.RawURLEncoding.EncodeToString([]byte(keys[n-1]))
	}
	for _, k := range keys {
		list = append(list, s.describe(runs[k]))
	}
	return list, next, nil
}

// describe returns what is to be said of the sessions of one run.
func (s *Server) describe(run []*session) Remote {
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

// runs returns the sessions that are meant, with the others of their runs. The keys
// sort by identity, and then by the run's number.
func (p *presence) runs(w Which) map[string][]*session {
	p.mu.RLock()
	defer p.mu.RUnlock()
	all := make(map[string][]*session, len(p.sessions))
	for sess := range p.sessions {
		number := binary.BigEndian.AppendUint64(nil, sess.run.Number)
		k := string(slices.Concat(sess.key, number, sess.run.ID[:]))
		all[k] = append(all[k], sess)
	}
	for k, run := range all {
		if !slices.ContainsFunc(run, w.means) {
			delete(all, k)
		}
	}
	return all
}

// means reports whether a session, whose presence is locked, is meant.
func (w Which) means(sess *session) bool {
	return (w.Identity == "" || keyname.Label(sess.key, "") == w.Identity) &&
		(w.Name == "" || slices.Contains(sess.names, w.Name)) &&
		(w.Address == netip.AddrPort{} || addrPort(sess.link.RemoteAddr()) == w.Address)
}
