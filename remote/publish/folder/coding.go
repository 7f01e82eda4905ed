package folder

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// codings are those in which a file may lie beside itself, the best first.
var codings = []struct{ name, ext string }{{"br", ".br"}, {"gzip", ".gz"}}

// staleAfter is by how much a coded file may be older than the file itself. One
// that is older still was made of an earlier version, and is not served.
const staleAfter = 2 * time.Second

// A codedEntry is a file in a coding, "" for the file itself.
type codedEntry struct {
	entry
	coding string
}

// coded returns the file to answer with for a file: itself, or one beside it that is
// the same in a coding that the visitor likes better. Varies says that there is one
// at all.
func (v *view) coded(r *http.Request, e entry) (chosen codedEntry, varies bool) {
	chosen = codedEntry{entry: e}
	accepted := strings.Join(r.Header.Values("Accept-Encoding"), ",")
	best := weight(accepted, "identity")
	for _, c := range codings {
		if strings.HasSuffix(e.name, c.ext) {
			return codedEntry{entry: e}, false
		}
		other, err := v.beside(e, c.ext)
		if err != nil || !other.info.Mode().IsRegular() || e.info.ModTime().Sub(other.info.ModTime()) > staleAfter {
			continue
		}
		varies = true
		if w := weight(accepted, c.name); w > best {
			best, chosen = w, codedEntry{other, c.name}
		}
	}
	return chosen, varies
}

// beside looks for a file beside another one, by what its name has at the end beyond the
// other's. Nearly always there is none, and this is cheaper than to find that out.
func (v *view) beside(e entry, ext string) (entry, error) {
	v.step()
	info, err := e.in.Lstat(e.name + ext)
	switch {
	case err != nil:
		return entry{}, known(err)
	case info.Mode().IsRegular():
		return entry{e.path + ext, info, e.in, e.name + ext}, nil
	}
	return v.find(strings.Split(e.path+ext, "/"))
}

// unsaid is the weight of the file as it is, where the visitor says nothing of that:
// less than any that can be said.
const unsaid = 0.0001

// weight is how much a visitor likes a coding by its Accept-Encoding (RFC 9110,
// section 12.5.3): 0 for not at all. The file as it is, identity, is what a visitor
// gets who likes nothing.
func weight(accepted, coding string) float64 {
	found, any := -1.0, -1.0
	for item := range strings.SplitSeq(accepted, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == coding, name == "x-gzip" && coding == "gzip":
			found = quality(parameters)
		case name == "*":
			any = quality(parameters)
		}
	}
	switch {
	case found >= 0:
		return found
	case any >= 0:
		return any
	case coding == "identity":
		return unsaid
	}
	return 0
}

// quality is the value of the parameter q, 1 where there is none, and 0 for one that
// is none.
func quality(parameters string) float64 {
	for parameter := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}

// A codedAnswer says how long the whole of a coded file is. http.ServeContent leaves
// that out, since handlers around it might do the coding.
type codedAnswer struct {
	http.ResponseWriter
	size int64
}

// WriteHeader implements http.ResponseWriter.
func (a *codedAnswer) WriteHeader(status int) {
	if status == http.StatusOK {
		a.Header().Set("Content-Length", strconv.FormatInt(a.size, 10))
	}
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *codedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
