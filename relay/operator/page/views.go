package page

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"keystay/relay/operator"
)

const (
	// pageRows is how many entries one page shows.
	pageRows = 100
	// maxAsked is how many pages of names are asked for to fill one, where few of them
	// have what is looked for.
	maxAsked = 8
	// maxSearch is the longest text that is looked for, in bytes.
	maxSearch = 256
)

// ask asks the API for something that changes nothing.
func ask[T any](ctx context.Context, p *Page, path string, q url.Values) (v T, err error) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	a, err := p.API.Do(ctx, "page", http.MethodGet, path, nil)
	if err == nil {
		v = a.(T)
	}
	return v, err
}

// A list is a page of entries, and where the next one is.
type list[T any] struct {
	Rows    []T
	Search  string
	Kind    string // of bans
	Begin   string // where the list begins, with what is looked for
	Next    string // where it goes on, or ""
	Partial bool   // what follows has not been looked through
}

func listOf[T any](rows []T) list[T] { return list[T]{Rows: rows} }

// search is what a request looks for, and from where on.
func search(r *http.Request) (part, after string) {
	q := r.URL.Query()
	return strings.ToLower(strings.TrimSpace(cut(maxSearch, q.Get("q")))), q.Get("after")
}

// paged fills in where a list begins and goes on.
func paged[T any](l *list[T], path, after, next string) {
	q := url.Values{}
	if l.Search != "" {
		q.Set("q", l.Search)
	}
	if l.Kind != "" {
		q.Set("kind", l.Kind)
	}
	begin := path
	if len(q) > 0 {
		begin += "?" + q.Encode()
	}
	if after != "" {
		l.Begin = begin
	}
	if next != "" {
		q.Set("after", next)
		l.Next = path + "?" + q.Encode()
	}
}

// query is the query of a page of the API's lists.
func query(part, after string) url.Values {
	q := url.Values{"limit": {strconv.Itoa(pageRows)}}
	if part != "" {
		q.Set("contains", part)
	}
	if after != "" {
		q.Set("after", after)
	}
	return q
}

// A tally is how often something was, such as that a limit was met.
type tally struct {
	Name  string
	Times int64
}

// tallies are those of the API, most of all first, in words.
func tallies(of map[string]int64) (list []tally) {
	for name, n := range of {
		list = append(list, tally{strings.ReplaceAll(name, "_", " "), n})
	}
	slices.SortFunc(list, func(a, b tally) int { return cmp.Or(cmp.Compare(b.Times, a.Times), strings.Compare(a.Name, b.Name)) })
	return list
}

// An overviewData is what the first page shows.
type overviewData struct {
	operator.Status
	Limits, Refused []tally
	Others          []operator.Node // of a relay on several machines
}

func (p *Page) overview(r *http.Request) (view, error) {
	st, err := ask[operator.Status](r.Context(), p, "/v1/status", nil)
	d := overviewData{Status: st, Limits: tallies(st.LimitsMet), Refused: tallies(st.RefusedFor)}
	if err == nil && st.Node != "" {
		var a operator.Nodes
		a, err = ask[operator.Nodes](r.Context(), p, "/v1/nodes", nil)
		d.Others = slices.DeleteFunc(a.Nodes, func(n operator.Node) bool { return n.Self })
	}
	return view{Title: "Overview", Name: "overview", Data: d}, err
}

func (p *Page) remotes(r *http.Request) (view, error) {
	part, after := search(r)
	a, err := ask[operator.Remotes](r.Context(), p, "/v1/remotes", query(part, after))
	l := list[operator.Remote]{Rows: a.Remotes, Search: part}
	paged(&l, "/remotes", after, a.Next)
	return view{Title: "Remotes", Name: "remotes", Data: l}, err
}

func (p *Page) names(r *http.Request) (view, error) {
	part, after := search(r)
	var l list[operator.Grant]
	next := after
	for range maxAsked {
		a, err := ask[operator.NamesPage](r.Context(), p, "/v1/names", query(part, next))
		if err != nil {
			return view{}, err
		}
		l.Rows = append(l.Rows, a.Names...)
		if next = a.Next; next == "" || len(l.Rows) >= pageRows {
			break
		}
	}
	l.Search, l.Partial = part, next != "" && len(l.Rows) < pageRows
	if len(l.Rows) > pageRows {
		l.Rows, next = l.Rows[:pageRows], l.Rows[pageRows-1].Name
	}
	paged(&l, "/names", after, next)
	return view{Title: "Names", Name: "names", Data: l}, nil
}

func (p *Page) tokens(r *http.Request) (view, error) {
	part, after := search(r)
	a, err := ask[operator.Tokens](r.Context(), p, "/v1/tokens", nil)
	l := list[operator.Token]{Search: part}
	next := ""
	slices.SortFunc(a.Tokens, func(a, b operator.Token) int { return strings.Compare(a.ID, b.ID) })
	for _, t := range a.Tokens {
		if t.ID <= after || !strings.Contains(strings.ToLower(t.ID+" "+strings.Join(t.Names, " ")+" "+t.Note+" "+t.BoundTo), part) {
			continue
		}
		if len(l.Rows) == pageRows {
			next = l.Rows[pageRows-1].ID
			break
		}
		l.Rows = append(l.Rows, t)
	}
	paged(&l, "/tokens", after, next)
	return view{Title: "Tokens", Name: "tokens", Data: l}, err
}

// banPath is where the API has the bans of a kind.
func banPath(kind string) string {
	switch kind {
	case "identity":
		return "/v1/identities"
	case "address":
		return "/v1/addresses"
	}
	return "/v1/names"
}

func (p *Page) bans(r *http.Request) (view, error) {
	part, after := search(r)
	kind := r.URL.Query().Get("kind")
	path := banPath(kind)
	if path == "/v1/names" {
		kind, path = "name", "/v1/names/banned"
	}
	a, err := ask[operator.Bans](r.Context(), p, path, query(part, after))
	l := listOf(a.Bans)
	l.Search, l.Kind = part, kind
	paged(&l, "/bans", after, a.Next)
	return view{Title: "Bans", Name: "bans", Data: l}, err
}

// maxAudit is how many entries of the audit log are looked through.
const maxAudit = 2000

func (p *Page) audit(r *http.Request) (view, error) {
	part, _ := search(r)
	a, err := ask[operator.AuditPage](r.Context(), p, "/v1/audit", url.Values{"limit": {strconv.Itoa(maxAudit)}})
	l := list[operator.Entry]{Search: part}
	for _, e := range slices.Backward(a.Entries) {
		if len(l.Rows) == pageRows {
			break
		}
		if strings.Contains(strings.ToLower(strings.Join([]string{e.Who, e.What, e.On, e.Identity, e.Reason, e.Result}, " ")), part) {
			l.Rows = append(l.Rows, e)
		}
	}
	return view{Title: "Audit log", Name: "audit", Data: l}, err
}
