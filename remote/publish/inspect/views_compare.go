package inspect

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"keystay/internal/amount"
)

// A compareData is two exchanges side by side.
type compareData struct {
	First, Second               summary
	Lines                       []diffField // method, path and the like
	RequestFields, AnswerFields []diffField
	RequestBody, AnswerBody     []diffLine
	RequestWhole, AnswerWhole   bool
	RequestSame, AnswerSame     bool
}

func (s *Server) compare(w http.ResponseWriter, r *http.Request) {
	id := func(key string) *exchange {
		n, _ := strconv.ParseUint(r.URL.Query().Get(key), 10, 64)
		return s.in.find(n)
	}
	a, b := id("a"), id("b")
	if a == nil || b == nil {
		s.problem(w, r, http.StatusNotFound, "One of the two is not kept any more", "Newer requests have taken its place, or everything was cleared.")
		return
	}
	x, y := row{a, a.look()}, row{b, b.look()}
	d := compareData{First: x.summary(), Second: y.summary()}
	for _, l := range [][3]string{
		{"Name", a.name, b.name}, {"Method", a.method, b.method}, {"Path", a.target, b.target}, {"Protocol", a.proto, b.proto},
		{"Status", strconv.Itoa(x.status), strconv.Itoa(y.status)}, {"Took", took(x.took), took(y.took)},
		{"Request", amount.Rounded(x.request.size), amount.Rounded(y.request.size)}, {"Answer", amount.Rounded(x.answer.size), amount.Rounded(y.answer.size)},
	} {
		d.Lines = append(d.Lines, diffField{Name: l[0], First: l[1], Second: l[2], Same: l[1] == l[2]})
	}
	d.RequestFields = differFields(fieldsOf(x.request.header), fieldsOf(y.request.header))
	d.AnswerFields = differFields(fieldsOf(x.answer.header), fieldsOf(y.answer.header))
	d.RequestBody, d.RequestWhole, d.RequestSame = differBodies(&x.request, &y.request)
	d.AnswerBody, d.AnswerWhole, d.AnswerSame = differBodies(&x.answer, &y.answer)
	s.show(w, r, view{Title: fmt.Sprintf("%d and %d", a.id, b.id), Name: "compare", ID: a.id, Data: d})
}

func differBodies(a, b *message) (lines []diffLine, whole, same bool) {
	x, y := laidOut(a).all(), laidOut(b).all()
	lines, whole = differ(x, y)
	return lines, whole, x == y && a.size == b.size
}

// all is a body as one text.
func (r readable) all() string {
	if len(r.Pairs) == 0 {
		return r.Text
	}
	var b strings.Builder
	for _, p := range r.Pairs {
		fmt.Fprintf(&b, "%s = %s\n", p.Name, p.Value)
	}
	return b.String()
}
