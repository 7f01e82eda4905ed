package publish

import (
	"io"
	"net/http"
	"net/url"
	"strconv"

	"keystay/internal/urlpath"
)

// Redirect sends visitors to another URL. One with scheme and host alone, such as
// https://example.com, leads each path and query to the same there. Any other leads
// all of them to itself.
//
// GET and HEAD get 302, other methods 307, which keeps method and body (RFC 9110,
// sections 15.4.3 and 15.4.8). Both are for now: no browser remembers them.
func Redirect(to *url.URL) http.Handler {
	keeps := to.Path == "" && to.RawQuery == "" && !to.ForceQuery && to.Fragment == ""
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		where := to.String()
		if path, query, ok := urlpath.Target(r); keeps && ok && path != "*" {
			where += urlpath.EscapeOthers(path)
			if query != "" {
				where += "?" + urlpath.EscapeOthers(query[1:])
			}
		}
		status := http.StatusTemporaryRedirect
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			status = http.StatusFound
		}
		h := w.Header()
		h.Set("Location", where)
		h["Content-Type"] = nil // there is no body
		w.WriteHeader(status)
	})
}

// Text answers GET and HEAD with a text in UTF-8, as it is, and other methods with
// 405.
func Text(text string) http.Handler {
	length := strconv.Itoa(len(text))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			h["Content-Type"] = nil // there is no body
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Length", length)
		if r.Method == http.MethodGet {
			io.WriteString(w, text)
		}
	})
}
