// Package owners finds out whether a name ever had two owners: it keeps what devices
// and operators were told of names, from several nodes at once, and looks for an order
// of all that in which each name had one owner at most at any time
// (linearizability; the search is porcupine's).
package owners

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// An Outcome is what somebody was told of a claim or of a release.
type Outcome int

const (
	Unknown Outcome = iota // nothing, or that it cannot be done now: it may have been done or not
	Granted                // it was done
	Taken                  // another identity has the name
)

// A History is what was asked and answered so far. The zero value is ready, and its
// methods may be called from several goroutines.
type History struct {
	mu    sync.Mutex
	start time.Time
	all   []porcupine.Operation
}

// A request is a claim by an identity, or a release where that is empty.
type request struct{ name, identity string }

// Claim notes that an identity claims a name from now on, at some client of the caller's
// numbering that asks one thing at a time. The function that it returns notes what came of
// that.
func (h *History) Claim(client int, name, identity string) (answered func(Outcome)) {
	return h.ask(client, request{name, identity})
}

// Release notes that somebody takes a name from whoever has it, as Claim does.
func (h *History) Release(client int, name string) (answered func(Outcome)) {
	return h.ask(client, request{name: name})
}

func (h *History) ask(client int, r request) func(Outcome) {
	asked := h.now()
	return func(o Outcome) {
		op := porcupine.Operation{ClientId: client, Input: r, Call: asked, Output: o, Return: h.now()}
		if o == Unknown {
			op.Return = math.MaxInt64 // it may still be done later
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, op)
	}
}

// now is the time since the first call, by the monotonic clock.
func (h *History) now() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.start.IsZero() {
		h.start = time.Now()
	}
	return int64(time.Since(h.start))
}

// Count is how many requests of each outcome there were.
func (h *History) Count() map[Outcome]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := map[Outcome]int{}
	for _, op := range h.all {
		n[op.Output.(Outcome)]++
	}
	return n
}

// Check searches for an order, of each name by itself, and its error tells of each name
// for which there is none, or for which none was found in the time that it has. Nothing may
// be under way any more.
func (h *History) Check(limit time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	byName := map[string][]porcupine.Operation{}
	for _, op := range h.all {
		name := op.Input.(request).name
		byName[name] = append(byName[name], op)
	}
	for name, all := range byName {
		byName[name] = necessary(all)
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if r := porcupine.CheckOperationsTimeout(register, byName[name], limit); r != porcupine.Ok {
			wrong = append(wrong, fmt.Sprintf("%s (%v):\n%s", name, r, list(byName[name])))
		}
	}
	if wrong != nil {
		return fmt.Errorf("no order with one owner at a time, of %d names of %d:\n%s", len(wrong), len(byName), strings.Join(wrong, ""))
	}
	return nil
}

// necessary leaves out what changes nothing, and would only make the search longer, where
// a name is never released. Of claims that may have been done, those of one identity are as
// good as its first one, which may still be done whenever the others might; and where the
// name was granted, those of identities that it was not granted to have never been done,
// since it would still be theirs.
func necessary(all []porcupine.Operation) (list []porcupine.Operation) {
	slices.SortFunc(all, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	granted, first := map[string]bool{}, map[string]bool{}
	for _, op := range all {
		identity := op.Input.(request).identity
		if identity == "" {
			return all
		}
		if op.Output.(Outcome) == Granted {
			granted[identity] = true
		}
	}
	for _, op := range all {
		identity := op.Input.(request).identity
		if op.Output.(Outcome) == Unknown {
			if first[identity] || len(granted) > 0 && !granted[identity] {
				continue
			}
			first[identity] = true
		}
		list = append(list, op)
	}
	return list
}

// register is one name: its state is the identity that has it, or nothing.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		owner, identity := state.(string), input.(request).identity
		switch output.(Outcome) {
		case Granted:
			return identity == "" || owner == "" || owner == identity, identity
		case Taken:
			return owner != "" && owner != identity, owner
		}
		if identity == "" || owner == "" {
			return true, identity
		}
		return true, owner
	},
}

// list is a history to read.
func list(all []porcupine.Operation) string {
	var text strings.Builder
	for _, op := range all {
		r, until := op.Input.(request), "?"
		if op.Return != math.MaxInt64 {
			until = time.Duration(op.Return).Round(time.Microsecond).String()
		}
		what := "is claimed by " + r.identity
		if r.identity == "" {
			what = "is released"
		}
		fmt.Fprintf(&text, "  %v to %s: %s, client %d: %s\n", time.Duration(op.Call).Round(time.Microsecond), until, what, op.ClientId,
			[]string{"unknown", "granted", "taken"}[op.Output.(Outcome)])
	}
	return text.String()
}
