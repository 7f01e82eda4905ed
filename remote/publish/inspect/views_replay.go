package inspect

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxEdit is how long an edited request may be, in bytes.
const maxEdit = 2 << 20

// A replayData is a request that is being edited.
type replayData struct {
	ID                         uint64
	Name, Method, Target, Head string
	Body                       string
	Binary                     bool // the body is no text, and is sent as it was unless Body is given
	Wrong, Note                string
}

func (s *Server) showReplay(w http.ResponseWriter, r *http.Request, e *exchange) {
	ed, err := editOf(e)
	if errors.Is(err, errSwitched) || errors.Is(err, errLetGo) {
		s.problem(w, r, http.StatusConflict, "This is not repeated", sentence(err.Error()))
		return
	}
	d := replayData{ID: e.id, Name: e.name, Method: ed.Method, Target: ed.Target, Head: headText(hidden(ed.Header, false))}
	if err != nil {
		d.Note = sentence(err.Error())
	}
	if d.Binary = !isText(ed.Body, false); !d.Binary {
		d.Body = string(ed.Body)
	}
	s.show(w, r, view{Title: "Replay " + cut(120, e.method+" "+e.path()), Name: "replay", ID: e.id, Data: d})
}

// replay repeats a request, as it was, or as a form has it.
func (s *Server) replay(w http.ResponseWriter, r *http.Request, e *exchange) {
	r.Body = http.MaxBytesReader(w, r.Body, maxEdit)
	if err := r.ParseForm(); err != nil {
		s.problem(w, r, http.StatusBadRequest, "This is not repeated", "The form is not well formed, or too long.")
		return
	}
	ed, err := editOf(e)
	d := replayData{ID: e.id, Name: e.name, Method: ed.Method, Target: ed.Target}
	edited := r.PostForm.Has("target")
	if edited && (err == nil || errors.Is(err, errBodyCut)) {
		d.Method, d.Target = strings.TrimSpace(r.PostForm.Get("method")), strings.TrimSpace(r.PostForm.Get("target"))
		d.Head, d.Body = r.PostForm.Get("head"), r.PostForm.Get("body")
		d.Binary = r.PostForm.Get("binary") == "1"
		was := ed.Header
		ed.Method, ed.Target = d.Method, d.Target
		ed.Header, err = headOf(d.Head)
		unmask(ed.Header, was)
		if !d.Binary || d.Body != "" {
			ed.Body = edBody(d.Body, ed.Body)
		}
	}
	var id uint64
	if err == nil {
		id, err = s.in.repeat(e, ed)
	}
	switch {
	case err != nil && edited:
		d.Wrong = sentence(err.Error())
		s.show(w, r, view{Title: "Replay", Name: "replay", ID: e.id, Status: http.StatusBadRequest, Data: d})
	case err != nil:
		s.problem(w, r, http.StatusConflict, "This is not repeated", sentence(err.Error()))
	default:
		to := "/" + s.token + "/x/" + strconv.FormatUint(id, 10)
		if isPart(r) {
			w.Header().Set("HX-Location", fmt.Sprintf(`{"path":%q,"target":"#detail","swap":"innerHTML"}`, to))
			w.WriteHeader(http.StatusNoContent)
			return
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

// edBody is a body as a form has it. A browser makes CRLF of each line's end: a body
// that had none gets none.
func edBody(text string, was []byte) []byte {
	if !strings.Contains(string(was), "\r\n") {
		text = strings.ReplaceAll(text, "\r\n", "\n")
	}
	return []byte(text)
}

// headText is a head as a person edits it.
func headText(h http.Header) string {
	var b strings.Builder
	for _, f := range fieldsOf(h) {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	return b.String()
}

// headOf reads such a head.
func headOf(text string) (http.Header, error) {
	h := make(http.Header)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, errField
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		h[name] = append(h[name], strings.TrimSpace(value))
	}
	return h, nil
}
