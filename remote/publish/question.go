package publish

import (
	"io"
	"net/http"
	"time"

	"keystay/internal/page"
	crossprobe "keystay/internal/probe"
	"keystay/internal/urlpath"
)

// questionTimeout is how long another remote may take to put its question.
const questionTimeout = 10 * time.Second

// asksQuestion reports whether a request, which has passed refusal, is the question of
// another remote.
func (s *Site) asksQuestion(x *exchange) bool {
	if s.question == nil || x.tunnel != nil || x.request.Method != http.MethodPost {
		return false
	}
	path, _, _ := urlpath.Target(x.request)
	return path == crossprobe.Path
}

// answerQuestion answers the question of another remote.
func (s *Site) answerQuestion(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(questionTimeout))
	question, err := io.ReadAll(io.LimitReader(r.Body, crossprobe.MaxQuestion+1))
	_ = c.SetReadDeadline(time.Time{})
	var answer []byte
	if err == nil {
		answer, err = s.question(r.Context(), question)
	}
	if err != nil {
		p := page.Page{Status: http.StatusForbidden, Title: "This question is not answered", Text: "Only remotes of the same owner may ask here, and not too often."}
		p.Write(w, r)
		return
	}
	headDocument(w, crossprobe.ContentType, len(answer))
	_, _ = w.Write(answer) // a remote that has gone
}
