// Package folder answers requests with the files of a folder.
//
// No spelling of a path and no symbolic link leads out of the folder, and what is
// hidden in it, by a name that begins with a dot, is not served.
package folder

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"

	"keystay/internal/hint"
	"keystay/internal/outage"
	"keystay/internal/page"
)

// Options are what a [Folder] does beyond serving files. The zero value is nothing.
type Options struct {
	// Listing shows what is in a folder that has no index.html.
	Listing bool

	// SPA answers with the index.html at the top where there is no file, for
	// applications that read the path in the browser. A path that ends like a kind
	// of file that is known, such as /missing.js, still gets 404.
	SPA bool

	// Never is a folder of which nothing is served; nil is none. Folders may share it, and
	// whoever has made it closes it behind them.
	Never *Never

	// Logger hears when the folder or a file of it cannot be read; nil discards.
	Logger *slog.Logger
}

// A Folder is an http.Handler of the files in a folder. It opens the folder anew
// for each request: so it may go away and come back, or be another one behind a
// symbolic link, while it is served.
type Folder struct {
	dir     string
	options Options
	crowd   crowd

	away   outage.Outage // while the folder cannot be read
	closed outage.Outage // files that cannot be
	leads  outage.Outage // links that lead out of the folder

	meanwhile func() // what a test has happen between two steps of a request
}

// Open returns the folder at dir, which need not be there yet: see Check. A
// relative path counts from the working directory of now.
func Open(dir string, o Options) (*Folder, error) {
	if dir == "" {
		return nil, errors.New("the folder has no path")
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Folder{dir: abs, options: o}, nil
}

// String is the path of the folder.
func (f *Folder) String() string { return f.dir }

// Close does nothing: between requests nothing is open. It is there so that a
// Folder is an io.Closer, as other services are.
func (f *Folder) Close() error { return nil }

// Check looks whether the folder is there and can be read. The error says why not,
// in words for people, and has hints.
func (f *Folder) Check(context.Context) error {
	v, err := f.view()
	if err != nil {
		return f.fault(err)
	}
	defer v.Close()
	if _, err := v.root.Lstat("index.html"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.fault(err)
	}
	return nil
}

// fault says why the folder cannot be read, for people.
func (f *Folder) fault(err error) error {
	var in *fs.PathError
	if errors.As(err, &in) {
		err = in.Err // the path stands beside it
	}
	advice := hint.FolderMissing
	switch {
	case errors.Is(err, errNotFolder):
		advice = hint.FolderIsFile
	case errors.Is(err, fs.ErrPermission):
		advice = hint.FolderClosed
	}
	return advice.Error(err, "DIR", f.dir)
}

// errNotFolder is the error of a path where something else lies.
var errNotFolder = errors.New("it is no folder")

// errNever is the error of a path that leads to what is never served.
var errNever = errors.New("nothing of it is ever to be served")

// view opens the folder. It is what was opened that is judged, since the path may lead
// elsewhere at any time.
func (f *Folder) view() (*view, error) {
	info, err := os.Stat(f.dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errNotFolder
	}
	v := &view{meanwhile: f.meanwhile}
	v.step()
	if v.root, err = os.OpenRoot(f.dir + itself); err != nil {
		return nil, err
	}
	v.step()
	v.never = f.options.Never.look()
	if v.top, err = v.root.Stat("."); err == nil && v.isInNever() {
		err = errNever
	}
	if err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// ServeHTTP implements http.Handler. It answers GET and HEAD, with 405 to others.
func (f *Folder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD") // RFC 9110, section 15.5.6
		notAllowed.Write(w, r)
		return
	}
	names, dir, ok := segments(r.URL)
	if !ok {
		notFound.Write(w, r)
		return
	}
	v, err := f.view()
	if err != nil {
		f.tellAway(err)
		unreadable.Write(w, r)
		return
	}
	defer v.Close()
	f.tellBack()
	e, err := v.find(names)
	switch {
	case err != nil:
		f.missing(w, r, v, names, err)
	case e.info.IsDir() && !dir:
		redirect(w, r, names)
	case e.info.IsDir():
		f.serveDir(w, r, v, names, e)
	case dir: // /file/ is not /file
		f.missing(w, r, v, names, fs.ErrNotExist)
	default:
		f.serveFile(w, r, v, e)
	}
}

// serveDir answers for a folder in the folder.
func (f *Folder) serveDir(w http.ResponseWriter, r *http.Request, v *view, names []string, e entry) {
	index, err := v.find(append(names[:len(names):len(names)], "index.html"))
	switch {
	case err == nil && index.info.Mode().IsRegular():
		f.serveFile(w, r, v, index)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		f.missing(w, r, v, names, err)
	case f.options.Listing:
		if err := f.list(w, r, v, len(names) == 0, e); err != nil {
			f.missing(w, r, v, names, err)
		}
	case f.options.SPA && len(names) > 0:
		f.missing(w, r, v, names, fs.ErrNotExist)
	default:
		noIndex.Write(w, r)
	}
}

// serveFile answers with a file, in the coding that the visitor likes best.
func (f *Folder) serveFile(w http.ResponseWriter, r *http.Request, v *view, e entry) {
	h := w.Header()
	chosen, varies := v.coded(r, e)
	if varies {
		h.Add("Vary", "Accept-Encoding")
	}
	file, err := v.open(chosen.entry)
	if err != nil {
		f.missing(w, r, v, nil, err)
		return
	}
	defer file.Close()
	_ = v.Close() // a visitor may take long for the file, and has one descriptor of the device
	info := chosen.info
	h.Set("Content-Type", contentType(path.Base(e.path)))
	now := time.Now()
	if tag := etag(info, chosen.coding, now); tag != "" {
		h.Set("ETag", tag)
	}
	if chosen.coding != "" {
		h.Set("Content-Encoding", chosen.coding)
		w = &codedAnswer{w, info.Size()}
	}
	boundRanges(r.Header)
	content := newContent(file, info.Size())
	http.ServeContent(w, r, "", lastModified(info, now), content)
	if content.short.Load() {
		panic(http.ErrAbortHandler) // an answer that was cut short must not look whole
	}
}

// missing answers where there is nothing to serve, because of err.
func (f *Folder) missing(w http.ResponseWriter, r *http.Request, v *view, names []string, err error) {
	f.tellFile(err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		forbidden.Write(w, r)
		return
	case f.options.SPA && len(names) > 0 && !isKnownKind(names[len(names)-1]):
		if index, err := v.find([]string{"index.html"}); err == nil && index.info.Mode().IsRegular() {
			f.serveFile(w, r, v, index)
			return
		}
	}
	notFound.Write(w, r)
}

// redirect leads to the same path with a slash at its end, by a reference that is
// relative to it: so it is right below any prefix, and never leads to another host.
func redirect(w http.ResponseWriter, r *http.Request, names []string) {
	last := ""
	if len(names) > 0 {
		last = names[len(names)-1]
	} else { // the path is a prefix that was stripped
		last = path.Base("/" + cmp.Or(r.Header.Get("X-Forwarded-Prefix"), r.URL.Path))
		if u, err := url.ParseRequestURI(r.RequestURI); err == nil && last == "/" {
			last = path.Base("/" + u.Path)
		}
	}
	to := "./"
	if last != "/" {
		to += url.PathEscape(last) + "/"
	}
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusMovedPermanently)
}

// The pages say nothing about where the folder is.
var (
	notFound = page.Page{
		Status: http.StatusNotFound,
		Title:  "There is no such page",
		Text:   "The address may be misspelt, or the page may have gone.",
	}
	noIndex = page.Page{
		Status: http.StatusNotFound,
		Title:  "There is no such page",
		Text:   "There is nothing to show at this address.",
		Owner:  "If this is your device: the folder has no index.html, and what is in it is not listed unless you ask for that.",
	}
	forbidden = page.Page{
		Status: http.StatusForbidden,
		Title:  "This page is not for the public",
		Text:   "The device behind this name has it, but cannot read it.",
		Owner:  "If this is your device: the log of the remote has the reason.",
	}
	notAllowed = page.Page{
		Status: http.StatusMethodNotAllowed,
		Title:  "There are only files here",
		Text:   "They can be read and nothing else.",
	}
	crowded = page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "Too many look at once",
		Text:       "Lists of files are long, and many are on their way to others. Files themselves are there as ever.",
		RetryAfter: 10 * time.Second,
	}
	unreadable = page.Page{
		Status:     http.StatusServiceUnavailable,
		Title:      "This site cannot be read right now",
		Text:       "The device behind this name is connected, but the site is not there.",
		Owner:      "If this is your device: the log of the remote has the reason, and what to do.",
		RetryAfter: 10 * time.Second,
	}
)

func (f *Folder) log() *slog.Logger {
	if f.options.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.options.Logger
}

func (f *Folder) tellAway(err error) {
	if tell, all := f.away.Failed(1); tell {
		err = f.fault(err)
		f.log().Warn("the folder cannot be read", "local", f.dir, "err", err, "requests", all, hint.Attr(hint.All(err)))
	}
}

func (f *Folder) tellBack() {
	if lasted, all, told := f.away.Ends(); told {
		f.log().Info("the folder can be read again", "local", f.dir, "after", lasted.Round(time.Millisecond), "requests", all)
	}
}

// tellFile tells of a file that is there and not served for a reason that its
// owner may not know.
func (f *Folder) tellFile(err error) {
	var leads *leadsOutError
	switch {
	case errors.As(err, &leads):
		if tell, all := f.leads.Failed(1); tell {
			f.log().Warn("a symbolic link leads out of the folder", "local", f.dir, "link", leads.path, "requests", all, hint.Attr(hint.FolderLink.Do))
		}
	case errors.Is(err, fs.ErrPermission):
		if tell, all := f.closed.Failed(1); tell {
			f.log().Warn("a file in the folder cannot be read", "local", f.dir, "err", err, "requests", all, hint.Attr(hint.FolderFileClosed.Do))
		}
	}
}
