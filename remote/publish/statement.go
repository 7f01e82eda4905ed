package publish

import (
	"net/http"
	"strconv"

	"keystay/internal/page"
	"keystay/internal/statement"
	"keystay/internal/urlpath"
)

// asksForStatement reports whether a request, which has passed refusal, is for the
// device's statement of the name. Requests for other spellings of its path, for paths
// below it and with other methods are the route's.
func (s *Site) asksForStatement(x *exchange) bool {
	r := x.request
	if s.statement == nil || x.tunnel != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	path, _, _ := urlpath.Target(r)
	return path == statement.Path
}

// answerStatement answers with the statement.
func (s *Site) answerStatement(w http.ResponseWriter, r *http.Request) {
	doc, err := s.statement()
	if err != nil {
		p := page.Page{Status: http.StatusServiceUnavailable, Title: "There is no document now", Text: "The device has no certificate of its own for this name."}
		p.Write(w, r)
		return
	}
	headDocument(w, statement.ContentType, len(doc))
	if r.Method != http.MethodHead {
		_, _ = w.Write(doc) // a visitor who has gone
	}
}

// headDocument sets the headers of a signed document of so many bytes, which nobody is
// to keep.
func headDocument(w http.ResponseWriter, contentType string, length int) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(length))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}
