package folder

import (
	"cmp"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"keystay/internal/page"
)

// maxListed is how many files and folders a listing shows. Of more it says so.
const maxListed = 5000

// listingStyle is what a listing has beyond the look of all pages.
const listingStyle = page.Style +
	`main{max-width:52rem}` +
	`table{width:100%;border-collapse:collapse}` +
	`th{text-align:left;font-weight:600;font-size:.875rem;color:#5b646d}` +
	`td,th{padding:.4rem .75rem .4rem 0;border-bottom:1px solid #dde1e5;vertical-align:top}` +
	`td:first-child{overflow-wrap:anywhere;width:100%}` +
	`.size,.time{white-space:nowrap;text-align:right;color:#5b646d;font-variant-numeric:tabular-nums}` +
	`a{color:#0b57b0;text-decoration:none}a:hover,a:focus{text-decoration:underline}` +
	`@media(max-width:34rem){body{padding:6vh 1rem 2rem}.time{display:none}}` +
	`@media(prefers-color-scheme:dark){th,.size,.time{color:#a0a9b2}td,th{border-color:#33393f}a{color:#8ab8f5}}`

var listingLayout = template.Must(template.New("listing").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
<table>
<tr><th scope="col">Name</th><th scope="col" class="size">Size</th><th scope="col" class="time">Modified (UTC)</th></tr>
{{if not .Top}}<tr><td><a href="../">../</a></td><td class="size"></td><td class="time"></td></tr>
{{end}}{{range .Rows}}<tr><td><a href="{{.Link}}"><bdi>{{.Name}}</bdi></a></td><td class="size">{{.Size}}</td><td class="time">{{.Time}}</td></tr>
{{end}}</table>
{{with .Note}}<p class="status">{{.}}</p>
{{end}}</main>
</body>
</html>
`))

// A row is a file or folder in a listing.
type row struct {
	Name, Link, Size, Time string
	dir                    bool
}

// list shows what is in a folder, folders first. Top says that it is the one at the
// top.
func (f *Folder) list(w http.ResponseWriter, r *http.Request, v *view, top bool, e entry) error {
	done, err := f.crowd.begin(r.Context())
	if err != nil {
		return err
	}
	b, err := v.listing(r, top, e)
	done()
	if err != nil {
		return err
	}
	_ = v.Close() // a visitor may take long for the page, too
	if len(b) > shortListing && r.Method != http.MethodHead {
		leave, ok := f.crowd.enter(r.RemoteAddr)
		if !ok {
			crowded.Write(w, r)
			return nil
		}
		defer leave()
		c := http.NewResponseController(w)
		_ = c.SetWriteDeadline(time.Now().Add(longTimeout)) // of a connection, where there is one
		defer func() { _ = c.SetWriteDeadline(time.Time{}) }()
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Content-Security-Policy", page.Policy(listingStyle))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	_, _ = io.WriteString(w, b) // a visitor who has gone gets no page
	return nil
}

// listing is the page of a listing.
func (v *view) listing(r *http.Request, top bool, e entry) (string, error) {
	rows, more, err := v.rows(e)
	if err != nil {
		return "", err
	}
	note := ""
	switch {
	case more:
		note = "There is more here than the " + strconv.Itoa(maxListed) + " that are shown."
	case len(rows) == 0:
		note = "There is nothing here."
	}
	var b strings.Builder
	err = listingLayout.Execute(&b, struct {
		Title, Note string
		Top         bool
		Rows        []row
		Style       template.CSS
	}{title(r.URL.Path), note, top, rows, listingStyle})
	return b.String(), err
}

// title is the path of a folder as people read it.
func title(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// rows are what is in a folder and may be served, sorted. More says that there is
// more than that.
func (v *view) rows(e entry) (rows []row, more bool, err error) {
	d, err := v.open(e)
	if err != nil {
		return nil, false, err
	}
	defer d.Close()
	found, err := d.ReadDir(maxListed + 1)
	if err != nil && err != io.EOF {
		return nil, false, known(err)
	}
	if len(found) > maxListed {
		found, more = found[:maxListed], true
	}
	for _, in := range found {
		if info, ok := v.shown(e, in); ok {
			rows = append(rows, newRow(in.Name(), info))
		}
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.dir != b.dir {
			return map[bool]int{true: -1, false: 1}[a.dir]
		}
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return rows, more, nil
}

// shown returns what a listing says of something in a folder. It is false for what is
// not served.
func (v *view) shown(folder entry, in fs.DirEntry) (fs.FileInfo, bool) {
	if isHidden(in.Name()) {
		return nil, false
	}
	if in.Type().IsRegular() || in.IsDir() {
		info, err := in.Info()
		return info, err == nil && !v.isNever(info)
	}
	// A link may lead to something that is.
	defer v.forget(len(v.found))
	e, err := v.find(strings.Split(strings.TrimPrefix(folder.path+"/"+in.Name(), "./"), "/"))
	return e.info, err == nil
}

func newRow(name string, info fs.FileInfo) row {
	r := row{Name: name, Link: "./" + url.PathEscape(name), Time: info.ModTime().UTC().Format(time.DateTime), dir: info.IsDir()}
	if r.dir {
		r.Name, r.Link = r.Name+"/", r.Link+"/"
	} else {
		r.Size = size(info.Size())
	}
	return r
}

// size is a number of bytes as people read it.
func size(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for ; f >= 1023.95 && i < len(units)-1; i++ {
		f /= 1024
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[i]
}
