package operator

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/relay"
	"keystay/relay/names"
)

// Names is what decides about names, as [names.Names] does.
type Names interface {
	List(f names.Filter, after string, limit int) (list []names.Grant, last string, more bool, err error)
	Show(name string) (names.Grant, error)
	Take(name, reason string, free bool) (names.Grant, error)
	Reserve(pattern, note string) (names.Reservation, error)
	Unreserve(pattern string) error
	Reservations() ([]names.Reservation, error)
	Ban(names.Ban) (names.Ban, error)
	Unban(kind names.BanKind, of string) error
	Bans(kind names.BanKind) ([]names.Ban, error)
	Banned(name string, key []byte, from netip.Addr) (names.Ban, bool)
	Issuance() (names.Issuance, error)
	CreateToken(names.TokenInfo) (secret string, made names.TokenInfo, err error)
	ListTokens() ([]names.TokenInfo, error)
	RevokeToken(id string, withNames bool) (released []string, err error)
}

// answered gives an error of Names its status. Where says where to look for what is
// not there.
func answered(err error, where ...string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, names.ErrNone):
		return problem(http.StatusNotFound, "%v", err).because(where...)
	case errors.Is(err, names.ErrClosed):
		hints := hint.All(err) // of etcd that is away; another process has the file for a moment
		if hints == nil {
			hints = []string{"ask again in a second"}
		}
		return problem(http.StatusServiceUnavailable, "%v", err).because(hints...)
	case errors.Is(err, names.ErrDamaged):
		return problem(http.StatusInternalServerError, "%v", err).because(hint.All(err)...)
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return problem(http.StatusConflict, "%v", err).because(hint.All(err)...)
}

func (s *Server) names(r *http.Request) (any, error) {
	q, err := query(r, "contains", "identity", "after", "limit")
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
	list, last, more, err := s.Names.List(names.Filter{Contains: q.Get("contains"), Identity: q.Get("identity")}, q.Get("after"), n)
	if err != nil {
		return nil, answered(err)
	}
	page := NamesPage{Names: list}
	if page.Names == nil {
		page.Names = []names.Grant{}
	}
	if more {
		page.Next = last
	}
	return page, nil
}

func (s *Server) name(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	name, err := s.nameOf(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	a := Name{Name: name, Remotes: []Remote{}}
	g, err := s.Names.Show(name)
	switch {
	case err == nil:
		a.Grant = &g
	case !errors.Is(err, names.ErrNone):
		return nil, answered(err)
	}
	if b, ok := s.Names.Banned(name, nil, netip.Addr{}); ok {
		a.Ban = &b
	}
	list, _, err := s.Relay.Remotes(relay.Which{Name: name}, "", maxPage)
	if err != nil {
		return nil, err
	}
	for _, one := range list {
		a.Remotes = append(a.Remotes, remoteOf(one))
	}
	if a.Grant == nil && a.Ban == nil && len(list) == 0 {
		return nil, problem(http.StatusNotFound, "%s is given to nobody, and nobody serves it", name).because("see relay names list")
	}
	return a, nil
}

func (s *Server) release(r *http.Request) (any, error) {
	var b Release
	if err := read(r, &b); err != nil {
		return nil, err
	}
	name, err := s.nameOf(b.Name)
	if err == nil {
		err = text("reason", b.Reason)
	}
	if err != nil {
		return nil, err
	}
	g, err := s.Names.Take(name, b.Reason, b.Free)
	if errors.Is(err, names.ErrNone) {
		if old, serr := s.Names.Show(name); serr == nil && old.Status == names.Lapsed {
			err = problem(http.StatusNotFound, "%s is released already, and kept from others until %s", name, old.Until.Format(time.DateOnly)).
				because("to give it out before: relay names release --free " + name)
		}
	}
	err = answered(err, "see relay names list")
	s.noted(r, "names.release", name, b.Reason, err)
	return g, err
}

func (s *Server) reserve(r *http.Request) (any, error) {
	var b Reserve
	if err := read(r, &b); err != nil {
		return nil, err
	}
	pattern, err := hostname.Pattern(b.Pattern, s.Domain)
	if err != nil {
		return nil, wrong("%v", err)
	}
	if err := text("note", b.Note); err != nil {
		return nil, err
	}
	res, err := s.Names.Reserve(pattern, b.Note)
	err = answered(err)
	s.noted(r, "names.reserve", pattern, b.Note, err)
	return res, err
}

func (s *Server) unreserve(r *http.Request) (any, error) {
	var b Reserve
	if err := read(r, &b); err != nil {
		return nil, err
	}
	pattern, err := hostname.Pattern(b.Pattern, s.Domain)
	if err != nil {
		return nil, wrong("%v", err)
	}
	err = answered(s.Names.Unreserve(pattern), "see relay names list --reserved; what the configuration reserves is ended there")
	s.noted(r, "names.unreserve", pattern, "", err)
	return Reserve{Pattern: pattern}, err
}

func (s *Server) reserved(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := s.Names.Reservations()
	if list == nil {
		list = []names.Reservation{}
	}
	return Reserved{list}, answered(err)
}

// span reads how long something is, as in 90m, 24h or 30d.
func span(field, s string) (time.Duration, error) {
	units := time.Duration(1)
	t := s
	if days, ok := strings.CutSuffix(s, "d"); ok {
		t, units = days+"h", 24
	}
	d, err := time.ParseDuration(t)
	if err != nil || d <= 0 || d > maxSpan/units {
		return 0, wrong("%s %.40q is not how long", field, s).because("as in 90m, 24h or 30d, 10 years at most")
	}
	return d * units, nil
}

// maxSpan is the longest that a ban or a token with an end may last.
const maxSpan = 10 * 365 * 24 * time.Hour
