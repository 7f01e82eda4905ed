package cli

import (
	"fmt"
	"io"

	"keystay/internal/hint"
	"keystay/internal/plain"
)

// The states of a [Finding].
const (
	FoundOK     = "ok"
	FoundNote   = "note"    // worth to know, and nothing is wrong
	FoundNotRun = "not_run" // it does not apply, or could not be looked at
	FoundWrong  = "wrong"
)

// A Finding is what came of one step of a command that looks at many things.
type Finding struct {
	Step   string   `json:"step"`
	About  string   `json:"about,omitempty"` // such as a name or an address
	State  string   `json:"state"`
	Detail string   `json:"detail"`          // for people
	Hints  []string `json:"hints,omitempty"` // what to do
}

// Findings are those of one command.
type Findings struct {
	OK    bool      `json:"ok"` // nothing is wrong; what was not run says nothing
	Steps []Finding `json:"steps"`
}

// Found returns the findings as one answer.
func Found(list []Finding) Findings {
	f := Findings{OK: true, Steps: list}
	for i, s := range list {
		f.OK = f.OK && s.State != FoundWrong
		f.Steps[i].Detail = plain.Text(s.Detail)
	}
	return f
}

// Wrong returns how many of the steps found something wrong.
func (f *Findings) Wrong() (n int) {
	for _, s := range f.Steps {
		if s.State == FoundWrong {
			n++
		}
	}
	return n
}

// Write shows the findings to a person: a line for each, and the lines of its hints.
func (f *Findings) Write(w io.Writer) {
	marks := map[string]string{FoundOK: "ok", FoundWrong: "!!"}
	for _, s := range f.Steps {
		mark, about := marks[s.State], ""
		if mark == "" {
			mark = "--"
		}
		if s.About != "" {
			about = " " + s.About
		}
		fmt.Fprintln(w, plain.Text(fmt.Sprintf("%s  %s%s: %s", mark, s.Step, about, s.Detail)))
		for _, h := range s.Hints {
			fmt.Fprintln(w, plain.Text("    hint: "+h))
		}
	}
}

// Fine is the finding that something is as it should be.
func Fine(step, about, format string, args ...any) Finding {
	return Finding{Step: step, About: about, State: FoundOK, Detail: fmt.Sprintf(format, args...)}
}

// NotRun is the finding that something was not looked at.
func NotRun(step, about, format string, args ...any) Finding {
	return Finding{Step: step, About: about, State: FoundNotRun, Detail: fmt.Sprintf(format, args...)}
}

// Note is the finding of something that is not wrong, with the hints of err.
func Note(step, about string, err error) Finding {
	return Finding{Step: step, About: about, State: FoundNote, Detail: err.Error(), Hints: hint.All(err)}
}

// Amiss is the finding of something that is wrong, with the hints of err.
func Amiss(step, about string, err error) Finding {
	return Finding{Step: step, About: about, State: FoundWrong, Detail: err.Error(), Hints: hint.All(err)}
}
