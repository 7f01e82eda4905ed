package publish

import (
	"net/http"
	"strconv"

	"keystay/internal/page"
	"keystay/internal/statement"
)

// asksForStatement reports whether a request, which has passed refusal, is for the
// document that says whose the name is. Other spellings of its path, other methods and
// what lies below it are not.
func (s *Site) asksForStatement(x *exchange) bool {
	r := x.request
	if s.statement == nil || x.tunnel != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	path, _, _ := target(r)
	return path == statement.Path
}

// state answers with the document.
func (s *Site) state(w http.ResponseWriter, r *http.Request) {
	doc, err := s.statement()
	if err != nil {
		p := page.Page{Status: http.StatusServiceUnavailable, Title: "There is no document now", Text: "The device has no certificate of its own for this name."}
		p.Write(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", statement.ContentType)
	h.Set("Content-Length", strconv.Itoa(len(doc)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodHead {
		_, _ = w.Write(doc) // a visitor who has gone
	}
}
