package operator

import (
	"net/http"
	"strings"
	"time"

	"keystay/relay/names"
)

// A route is one request of the API.
type route struct {
	method, path string
	do           func(*http.Request) (any, error)
}

// routes is the whole API.
func (s *Server) routes() []route {
	return []route{
		{"GET", "/v1/status", s.status},
		{"GET", "/v1/remotes", s.remotes},
		{"POST", "/v1/remotes/kick", s.kick},
		{"GET", "/v1/names", s.names},
		{"GET", "/v1/names/{name}", s.name},
		{"POST", "/v1/names/release", s.release},
		{"GET", "/v1/names/reserved", s.reserved},
		{"POST", "/v1/names/reserve", s.reserve},
		{"POST", "/v1/names/unreserve", s.unreserve},
		{"POST", "/v1/names/copy", s.copy},
		{"GET", "/v1/names/banned", s.bans(names.BanName)},
		{"POST", "/v1/names/ban", s.ban(names.BanName)},
		{"POST", "/v1/names/unban", s.unban(names.BanName)},
		{"GET", "/v1/identities", s.bans(names.BanIdentity)},
		{"POST", "/v1/identities/ban", s.ban(names.BanIdentity)},
		{"POST", "/v1/identities/unban", s.unban(names.BanIdentity)},
		{"GET", "/v1/addresses", s.bans(names.BanAddress)},
		{"POST", "/v1/addresses/ban", s.ban(names.BanAddress)},
		{"POST", "/v1/addresses/unban", s.unban(names.BanAddress)},
		{"GET", "/v1/tokens", s.tokens},
		{"POST", "/v1/tokens/create", s.createToken},
		{"POST", "/v1/tokens/revoke", s.revokeToken},
		{"GET", "/v1/nodes", s.nodes},
		{"POST", "/v1/nodes/invite", s.invite},
		{"POST", "/v1/drain", s.drain},
		{"GET", "/v1/config", s.config},
		{"GET", "/v1/audit", s.audit},
	}
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range s.routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			value, err := rt.do(r)
			answer(w, value, err)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { answer(w, nil, s.noRoute(w, r)) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.panics.Catch("answering the operator", func() { panic(http.ErrAbortHandler) })
		p, _ := r.Context().Value(peerKey{}).(peer)
		err := p.admit()
		if err == nil && s.paused.Load() {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Connection", "close")
			err = problem(http.StatusServiceUnavailable, "a new process is taking over").because("ask again in a second")
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute is the error of a request that the API does not have.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) error {
	var methods []string
	for _, rt := range s.routes() {
		if matches(rt.path, r.URL.Path) {
			methods = append(methods, rt.method)
		}
	}
	if len(methods) > 0 {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		return problem(http.StatusMethodNotAllowed, "%.10q is not for %.80q", r.Method, r.URL.Path).because("with " + strings.Join(methods, " or "))
	}
	return problem(http.StatusNotFound, "the API has no %.80q", r.URL.Path).because("see docs/control-api.md")
}

// matches reports whether a path is one of those that a pattern stands for, as
// http.ServeMux has it.
func matches(pattern, path string) bool {
	a, b := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && !strings.HasPrefix(a[i], "{") {
			return false
		}
	}
	return true
}

func (s *Server) status(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	st := s.Relay.Status()
	a := Status{
		State: "serving", Since: st.Since.UTC().Truncate(time.Second), Sockets: []Socket{},
		Links: st.Links, NamesUp: st.Names,
		Visitors: st.Visitors, VisitorsTotal: st.VisitorsTotal, RefusedTotal: st.RefusedTotal, LanesTotal: st.LanesTotal,
		Panics: st.Panics, LimitsMet: st.LimitsMet,
		RefusedFor: st.RefusedFor, BytesIn: st.BytesIn, BytesOut: st.BytesOut, Memory: st.Memory, MemoryLimit: st.MemoryLimit,
	}
	if st.Stopping {
		a.State = "draining"
	}
	if i, err := s.Names.Issuance(); err == nil && i.PerWeek > 0 {
		a.Certificates = &Certificates{PerWeek: i.PerWeek, Left: i.Left, Waiting: i.Waiting, NextIn: int64(max(0, i.Next) / time.Second)}
	}
	s.About(&a)
	return a, nil
}

func (s *Server) config(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	return s.Config(), nil
}

func (s *Server) copy(r *http.Request) (any, error) {
	if err := read(r, &struct{}{}); err != nil {
		return nil, err
	}
	file, size, err := s.Copy()
	s.noted(r, "names.copy", "", "", err)
	if err != nil {
		return nil, err
	}
	return Copied{File: file, Bytes: size}, nil
}

func (s *Server) drain(r *http.Request) (any, error) {
	var d Drain
	if err := read(r, &d); err != nil {
		return nil, err
	}
	if err := text("reason", d.Reason); err != nil {
		return nil, err
	}
	until := s.Drain().UTC().Truncate(time.Second)
	s.noted(r, "drain", "", d.Reason, nil)
	return Draining{Visitors: s.Relay.Status().Visitors, Until: until}, nil
}

// noted writes a lever into the audit log, and into the relay's own. Err is why it
// was not done, or nil.
func (s *Server) noted(r *http.Request, what, on, reason string, err error) {
	e := Entry{Who: who(r), What: what, On: on, Reason: reason, Result: "done"}
	if err != nil {
		e.Result = err.Error()
	}
	s.Audit.Note(e)
	s.log.Info("lever", "who", e.Who, "what", what, "on", on, "reason", reason, "result", e.Result)
}
