package page

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"keystay/internal/amount"
	"keystay/internal/htmx"
	"keystay/internal/plain"
	"keystay/relay/operator"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets/*.js assets/*.css assets/*.svg
var assetFiles embed.FS

// A view is one page, or a part of one.
type view struct {
	Title string
	Name  string // of the template; with the path of the same name it is the one in the menu
	Part  string // the template of the part that script asks for; "" is "list"
	Text  string // under the title
	Data  any
	// Status is that of HTTP; 0 is 200.
	Status int
	// Hints say what to do about a problem.
	Hints []string
}

// A shown view is what a template gets.
type shownView struct {
	view
	Domain, Version string
	User, Token     string // of whoever is signed in
	CanSignIn       bool
	URL             string // of this page
	Dialog          bool   // it is shown in the dialog
	Samples         int
}

// show answers with a view, or with what is wrong.
func (p *Page) show(w http.ResponseWriter, r *http.Request, v view, err error) {
	p.showOf(w, r, func() (view, error) { return v, err })
}

// showOf is show for a view that has to be asked for first.
func (p *Page) showOf(w http.ResponseWriter, r *http.Request, of func() (view, error)) {
	p.init()
	v, b, err := p.made(r, of)
	switch {
	case r.Context().Err() != nil:
		return
	case err != nil:
		p.log.Error("the operator's page cannot be made", "page", v.Name, "err", err)
		http.Error(w, "this page cannot be made: see the relay's log", http.StatusInternalServerError)
		return
	}
	defer p.unread.Add(-1)
	if p.unread.Add(1) > maxUnread && len(b) > smallPage {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many pages are on their way", http.StatusServiceUnavailable)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(readTimeout)) // of a connection, where there is one
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Vary", "HX-Request")
	w.WriteHeader(cmp.Or(v.Status, http.StatusOK))
	_, _ = w.Write(b) // a browser that has gone gets nothing
}

// made makes a page in one of the places for that. Its view is asked for there, too: the
// entries of the audit log alone can be some MiB.
func (p *Page) made(r *http.Request, of func() (view, error)) (view, []byte, error) {
	select {
	case p.renders <- struct{}{}:
		defer func() { <-p.renders }()
	case <-r.Context().Done():
		return view{}, nil, r.Context().Err()
	}
	v, err := of()
	if err != nil {
		v = problemOf(err)
	}
	s := shownView{view: v, Domain: p.API.Domain, CanSignIn: p.users.Load() != nil, URL: r.URL.RequestURI(), Dialog: isPart(r)}
	if in := p.session(r); in != nil {
		s.User, s.Token = in.user, in.token
	}
	name := "layout"
	if isPart(r) {
		name = cmp.Or(v.Part, "list")
	}
	var b bytes.Buffer
	err = templates[v.Name].ExecuteTemplate(&b, name, s)
	return v, b.Bytes(), err
}

// problemOf is the page of an error of the API.
func problemOf(err error) view {
	v := view{Title: "That did not work", Name: "problem", Part: "problem", Status: http.StatusInternalServerError, Text: sentence(err.Error())}
	var e *operator.Error
	if errors.As(err, &e) {
		v.Status, v.Hints = e.Status, e.Do
	}
	return v
}

// sentence is a message as a sentence of its own.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// templates are the pages, each with the layout.
var templates = func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"asset": assetURL, "ago": ago, "until": until, "day": day, "bytes": amount.Rounded, "count": count, "cut": cut, "percent": percent,
	}).ParseFS(templateFiles, "templates/layout.html"))
	all := make(map[string]*template.Template)
	for _, name := range []string{"overview", "remotes", "names", "tokens", "bans", "audit", "lever", "signin", "problem"} {
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return all
}()

// asset returns a file that the page loads.
func asset(name string) ([]byte, error) {
	if name == htmx.Name {
		return []byte(htmx.Script()), nil
	}
	return assetFiles.ReadFile("assets/" + name)
}

// assetURL is where a file of the page is: another one once the file is another.
func assetURL(name string) (string, error) {
	b, err := asset(name)
	sum := sha256.Sum256(b)
	return "/assets/" + name + "?v=" + hex.EncodeToString(sum[:6]), err
}

// serveAsset answers with a file that the page loads.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, err := asset(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if url, _ := assetURL(name); url == r.URL.RequestURI() {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(b) // a browser that has gone gets nothing
}

// ago says how long ago something was.
func ago(t time.Time) string { return span(time.Since(t)) }

// until says how far away something is.
func until(t time.Time) string {
	if d := time.Until(t); d > 0 {
		return "in " + span(d)
	}
	return "over"
}

// span is a length of time in its largest unit.
func span(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// count is a number with a thin mark between thousands.
func count(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// cut is a text of somebody else's, as one line of n bytes at most.
func cut(n int, s string) string { return plain.Cut(plain.Text(s), n) }

func percent(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(100 * part / whole)
}
