package operator

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/relay"
	"keystay/relay/names"
)

// leverOf is how the levers for what is banned are called.
func leverOf(kind names.BanKind) string {
	switch kind {
	case names.BanIdentity:
		return "identities"
	case names.BanAddress:
		return "addresses"
	}
	return "names"
}

// ban returns the route that bans.
func (s *Server) ban(kind names.BanKind) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var b Ban
		if err := read(r, &b); err != nil {
			return nil, err
		}
		if err := text("reason", b.Reason); err != nil {
			return nil, err
		}
		ban := names.Ban{Kind: kind, Of: b.Of, Reason: b.Reason, By: who(r)}
		if err := s.checkBan(&ban); err != nil {
			return nil, err
		}
		if b.For != "" {
			d, err := span("for", b.For)
			if err != nil {
				return nil, err
			}
			ban.Until = time.Now().UTC().Add(d).Truncate(time.Second)
		}
		ban, err := s.Names.Ban(ban)
		if err != nil {
			err = answered(err)
			s.noted(r, leverOf(kind)+".ban", ban.Of, b.Reason, err)
			return nil, err
		}
		n := s.severed(s.Relay.Cut(relay.CutOf(ban)))
		s.noted(r, leverOf(kind)+".ban", ban.Of, b.Reason, nil)
		return Banned{ban, n}, nil
	}
}

// checkBan brings what is to be banned into its one form. The relay's own name is
// refused, and so are all addresses: all of its names would be cut.
func (s *Server) checkBan(b *names.Ban) error {
	if b.Kind == names.BanName {
		if _, err := s.nameOf(b.Of); err != nil {
			return err
		}
	}
	if err := b.Check(); err != nil {
		return wrong("%v", err)
	}
	if b.Kind == names.BanAddress && strings.HasSuffix(b.Of, "/0") {
		return wrong("%s is everybody", b.Of).because("to give out no new names: names: {policy: closed} in its file", "to stop: relay drain")
	}
	if b.Kind == names.BanName && (b.Of == s.Domain || hostname.IsBelow(s.Domain, b.Of)) {
		return wrong("%s is this relay with all of its names", b.Of).
			because("to give out no new names: names: {policy: closed} in its file", "to stop: relay drain")
	}
	return nil
}

// unban returns the route that lifts a ban.
func (s *Server) unban(kind names.BanKind) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var b Unban
		if err := read(r, &b); err != nil {
			return nil, err
		}
		if err := text("reason", b.Reason); err != nil {
			return nil, err
		}
		ban := names.Ban{Kind: kind, Of: b.Of}
		if err := ban.Check(); err != nil {
			return nil, wrong("%v", err)
		}
		err := answered(s.Names.Unban(kind, ban.Of), s.otherBan(ban))
		s.noted(r, leverOf(kind)+".unban", ban.Of, b.Reason, err)
		return Unban{Of: ban.Of}, err
	}
}

// otherBan says which ban may be meant in the place of one that is not there.
func (s *Server) otherBan(b names.Ban) string {
	var wider names.Ban
	lever := "relay " + leverOf(b.Kind)
	switch b.Kind {
	case names.BanName:
		wider, _ = s.Names.Banned(b.Of, nil, netip.Addr{})
		lever += " list --banned"
	case names.BanAddress:
		p, _ := netip.ParsePrefix(b.Of) // by Check
		wider, _ = s.Names.Banned("", nil, p.Addr())
		fallthrough
	default:
		lever += " list"
	}
	if wider.Of != "" {
		return "there is one of " + wider.Of + ": relay " + leverOf(b.Kind) + " unban " + wider.Of
	}
	return "see " + lever
}

// bans returns the route that lists them.
func (s *Server) bans(kind names.BanKind) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		q, err := query(r, "contains", "after", "limit")
		if err != nil {
			return nil, err
		}
		n, err := limit(q, defaultPage)
		if err != nil {
			return nil, err
		}
		list, err := s.Names.Bans(kind)
		if err != nil {
			return nil, answered(err)
		}
		after, part := q.Get("after"), strings.ToLower(q.Get("contains"))
		list = slices.DeleteFunc(list, func(b names.Ban) bool {
			return b.Of <= after || !strings.Contains(b.Of, part) && !strings.Contains(strings.ToLower(b.Reason), part)
		})
		page := Bans{Bans: []names.Ban{}}
		if len(list) > n {
			list, page.Next = list[:n], list[n-1].Of
		}
		page.Bans = append(page.Bans, list...)
		return page, nil
	}
}
