package operator

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/internal/keyname"
	"keystay/relay"
	"keystay/relay/names"
)

func (s *Server) remotes(r *http.Request) (any, error) {
	q, err := query(r, "identity", "name", "contains", "after", "limit")
	if err != nil {
		return nil, err
	}
	n, err := limit(q, defaultPage)
	if err == nil {
		err = s.filtered(q)
	}
	if err != nil {
		return nil, err
	}
	list, next, err := s.Relay.Remotes(relay.Which{Identity: q.Get("identity"), Name: q.Get("name"), Contains: q.Get("contains")}, q.Get("after"), n)
	if err != nil {
		return nil, wrong("after: %v", err)
	}
	page := Remotes{Remotes: []Remote{}, Next: next}
	for _, one := range list {
		page.Remotes = append(page.Remotes, remoteOf(one))
	}
	return page, nil
}

func remoteOf(from relay.Remote) Remote {
	r := Remote{Identity: from.Identity, Run: from.Run, Agent: from.Agent, Names: from.Names, Links: []Link{}}
	if r.Names == nil {
		r.Names = []string{}
	}
	for _, l := range from.Links {
		r.Links = append(r.Links, Link{
			Address: l.Address, Since: l.Since, RTT: float64(l.RTT.Round(10*time.Microsecond)) / float64(time.Millisecond),
			Streams: l.Streams, Lanes: l.Lanes, Away: l.Away,
		})
	}
	return r
}

func (s *Server) kick(r *http.Request) (any, error) {
	var k Kick
	if err := read(r, &k); err != nil {
		return nil, err
	}
	cut, on, err := s.cut(k)
	if err != nil {
		return nil, err
	}
	done := s.severed(s.Relay.Cut(cut))
	if done.Links == 0 && !done.Elsewhere {
		err = problem(http.StatusNotFound, "no remote is connected as %s", on).because("see relay remotes list")
	}
	s.noted(r, "remotes.kick", on, k.Reason, err)
	return done, err
}

// cut returns what a kick is to the relay, and who it is for.
func (s *Server) cut(k Kick) (c relay.Cut, on string, err error) {
	if err := text("reason", k.Reason); err != nil {
		return c, "", err
	}
	given := 0
	for _, one := range []string{k.Identity, k.Name, k.Address} {
		if one != "" {
			given, on = given+1, one
		}
	}
	if given != 1 {
		return c, "", wrong("one of identity, name and address is wanted, not %d", given)
	}
	c = relay.Cut{Identity: k.Identity, Why: names.Denied{Text: told("the operator has ended this link", k.Reason)}}
	switch {
	case k.Identity != "":
		return c, on, identity(k.Identity)
	case k.Name != "":
		c.Name, err = s.nameOf(k.Name)
		return c, c.Name, err
	}
	if c.Address, err = netip.ParseAddrPort(k.Address); err != nil || c.Address.Addr().Zone() != "" {
		err = wrong("address %.80q is not that of a link", k.Address).because("as relay remotes list shows it, with its port")
	}
	return c, on, err
}

// told is what a remote is told: what was done, and the operator's reason.
func told(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}

// nameOf returns a whole host name in its normal form, or the name of a TCP port. One
// label is none: no name that is given out is so short, and what was meant would not be
// hit.
func (s *Server) nameOf(typed string) (string, error) {
	if port := strings.ToLower(typed); names.IsPort(port) {
		return port, nil
	}
	name, err := hostname.Normalize([]byte(typed))
	switch {
	case err != nil:
		return "", wrong("%.80q: %v", typed, err).because("one whole name, as in xyz." + s.Domain)
	case !strings.Contains(name, "."):
		return "", wrong("%q is no whole name", name).because("did you mean " + name + "." + s.Domain + "?")
	}
	return name, nil
}

// filtered refuses a query for an identity or a name that can be nobody's.
func (s *Server) filtered(q url.Values) error {
	if one := q.Get("identity"); one != "" {
		if err := identity(one); err != nil {
			return err
		}
	}
	if one := q.Get("name"); one != "" {
		_, err := s.nameOf(one)
		return err
	}
	return nil
}

// identity refuses what is no label made from a key.
func identity(s string) error {
	if !keyname.Is(s) {
		return wrong("%.80q is no identity", s).because("an identity is the 32 letters and digits of the name made from the device's key, as relay remotes list shows it")
	}
	return nil
}

// severed is what the relay has cut, for the answer.
func (s *Server) severed(n relay.Severed) Severed {
	return Severed{Links: n.Links, Names: n.Names, Visitors: n.Visitors, Elsewhere: s.Cluster != nil}
}
