package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"keystay/internal/hint"
)

const (
	// maxBody is the longest body of a request, in bytes.
	maxBody = 64 << 10
	// maxText is the longest reason or note, in bytes.
	maxText = 500
	// defaultPage and maxPage are how many entries a page has where the request
	// does not say, and at most.
	defaultPage = 1000
	maxPage     = 10_000
)

// An Error says why something was not done.
type Error struct {
	Status int // of HTTP
	Text   string
	Do     []string // its hints
}

func (e *Error) Error() string { return e.Text }

// Hints returns what to do about it, in one line each.
func (e *Error) Hints() []string { return e.Do }

func problem(status int, format string, args ...any) *Error {
	return &Error{Status: status, Text: fmt.Sprintf(format, args...)}
}

// wrong is a mistake in the request itself.
func wrong(format string, args ...any) *Error {
	return problem(http.StatusBadRequest, format, args...)
}

// because returns the error with hints.
func (e *Error) because(hints ...string) *Error {
	e.Do = hints
	return e
}

// answer writes what a route returned.
func answer(w http.ResponseWriter, value any, err error) {
	status := http.StatusOK
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = problem(http.StatusInternalServerError, "%v", err).because(hint.All(err)...)
		}
		status, value = e.Status, Problem{Error: e.Text, Hints: e.Do}
	}
	body, err := json.Marshal(value)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // who has gone hears nothing
}

// read decodes the body of a request into v, strictly. No body leaves v as it is.
func read(r *http.Request, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return problem(http.StatusRequestEntityTooLarge, "the body is longer than %d bytes", maxBody)
	case err != nil:
		return wrong("read the body: %v", err)
	case len(bytes.TrimSpace(b)) == 0:
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return wrong("the body is not the JSON that is asked for: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return wrong("the body has more than one JSON value")
	}
	return nil
}

// text refuses a reason or a note that is too long, or no line of plain text.
func text(field, s string) error {
	switch {
	case len(s) > maxText:
		return wrong("%s is longer than %d bytes", field, maxText)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }): // it comes to terminals
		return wrong("%s is not one line of text", field)
	}
	return nil
}

// query returns the query of a request, which has none but the known keys, each once.
func query(r *http.Request, known ...string) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, wrong("the query cannot be read: %v", err)
	}
	for key, values := range q {
		switch {
		case !slices.Contains(known, key):
			return nil, wrong("unknown parameter %.40q", key).because("known here: " + strings.Join(known, ", "))
		case len(values) > 1:
			return nil, wrong("%s is given %d times", key, len(values))
		}
	}
	return q, nil
}

// limit returns how many entries the page that is asked for has.
func limit(q url.Values, usual int) (int, error) {
	s := q.Get("limit")
	if s == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, wrong("limit %.40q is not a number from 1 to %d", s, maxPage)
	}
	return n, nil
}
