package inspect

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
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
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// A view is one page, or a part of one.
type view struct {
	Title  string
	Name   string // the template of what stands beside the list, or ""
	ID     uint64 // of the exchange that is shown
	Data   any
	Status int // of HTTP; 0 is 200
}

// A shown view is what a template gets.
type shownView struct {
	view
	Base string // the path of the page, with the token
	List list
}

// show answers with a view: with the part of it that script asks for, or as a page with
// the list.
func (s *Server) show(w http.ResponseWriter, r *http.Request, v view) {
	select {
	case s.renders <- struct{}{}:
		defer func() { <-s.renders }()
	case <-r.Context().Done():
		return
	}
	out := shownView{view: v, Base: "/" + s.token + "/"}
	name := cmp.Or(v.Name, "nothing")
	if !isPart(r) {
		name, out.List = "layout", s.list(r)
	} else if r.Header.Get("HX-Target") == "list" {
		name, out.List = "list", s.list(r)
	}
	var b bytes.Buffer
	if err := templates[cmp.Or(v.Name, "nothing")].ExecuteTemplate(&b, name, out); err != nil {
		http.Error(w, "this page cannot be made", http.StatusInternalServerError)
		return
	}
	write(w, "text/html; charset=utf-8", cmp.Or(v.Status, http.StatusOK), b.Bytes())
}

func write(w http.ResponseWriter, kind string, status int, b []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(readTimeout)) // of a connection, where there is one
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Vary", "HX-Request, HX-Target")
	w.WriteHeader(status)
	_, _ = w.Write(b) // a browser that has gone gets nothing
}

// isPart reports whether script of the page asks for a part of it.
func isPart(r *http.Request) bool {
	return r.Header.Get("HX-Request") == "true" && r.Header.Get("HX-History-Restore-Request") != "true"
}

// templates are the pages, each with the layout.
var templates = func() map[string]*template.Template {
	base := template.Must(template.New("").Funcs(template.FuncMap{
		"asset": assetURL, "clock": clock, "bytes": amount.Rounded, "took": took, "cut": cut, "mark": func() string { return masked },
		"side": sideOf, "titled": titledOf, "lines": linesWith,
	}).ParseFS(templateFiles, "templates/layout.html"))
	all := make(map[string]*template.Template)
	for _, name := range []string{"nothing", "exchange", "replay", "compare", "problem"} {
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return all
}()

// What templates give to others.
type (
	sideView struct {
		Message messageData
		Title   string
		Path    string // of the exchange
	}
	rowsView struct {
		Title string
		Rows  []diffField
	}
	linesView struct {
		Title       string
		Lines       []diffLine
		Whole, Same bool
	}
)

func sideOf(v shownView, m messageData, title string) sideView {
	return sideView{m, title, v.Base + "x/" + strconv.FormatUint(v.ID, 10)}
}

func titledOf(title string, rows []diffField) rowsView { return rowsView{title, rows} }

func linesWith(title string, lines []diffLine, whole, same bool) linesView {
	return linesView{title, lines, whole, same}
}

// asset returns a file that the page loads.
func asset(name string) ([]byte, error) {
	if name == htmx.Name {
		return []byte(htmx.Script()), nil
	}
	return assetFiles.ReadFile("assets/" + name)
}

// assetURL is where a file of the page is, below its path: another one once the file is
// another.
func assetURL(name string) (string, error) {
	b, err := asset(name)
	sum := sha256.Sum256(b)
	return "assets/" + name + "?v=" + hex.EncodeToString(sum[:6]), err
}

// serveAsset answers with a file that the page loads.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	b, err := asset(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Cache-Control", "private, max-age=3600")
	write(w, mime.TypeByExtension(path.Ext(name)), http.StatusOK, b)
}

// clock is a time of day, where the device is.
func clock(t time.Time) string { return t.Local().Format("15:04:05") }

// took is a length of time.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return strings.TrimSuffix(d.Round(time.Second).String(), "0s")
}

// cut is a text of somebody else's, as one line of n bytes at most.
func cut(n int, s string) string { return plain.Cut(plain.Text(s), n) }
