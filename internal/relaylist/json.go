package relaylist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// How the document is read. Two readers of the same bytes must see the same values, or
// what one has checked is not what another one does. So whatever JSON leaves to the
// reader is refused: a name that stands twice in an object, a number that is no whole
// one, half of a surrogate pair, a byte that is no UTF-8.

// An object is one of the document. Its values are bool, nil, string, uint64, []any and
// object.
type object map[string]any

const (
	// maxDepth is how deep objects and lists may be in each other.
	maxDepth = 16
	// maxInteger is the largest number that every reader of JSON keeps (RFC 8259,
	// section 6).
	maxInteger = 1<<53 - 1
	// maxName is the longest name of a field, in bytes.
	maxName = 64
)

// parse reads a document, which is one object.
func parse(b []byte) (object, error) {
	switch {
	case len(b) > MaxSize:
		return nil, fmt.Errorf("it has more than %d bytes", MaxSize)
	case !utf8.Valid(b):
		return nil, errors.New("it is not UTF-8")
	case !json.Valid(b):
		return nil, wrongJSON(b)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, errors.New("it is no object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind it")
	}
	return o, nil
}

// wrongJSON says what is wrong with bytes that are no JSON.
func wrongJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	return errors.New("it is no JSON")
}

// readValue reads the next value, at that depth.
func readValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d objects and lists are in each other", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return readObject(d, depth)
		}
		list := []any{}
		for d.More() {
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token() // its end
		return list, err
	case json.Number:
		n, err := strconv.ParseUint(t.String(), 10, 64)
		if err != nil || n > maxInteger || strconv.FormatUint(n, 10) != t.String() {
			return nil, fmt.Errorf("a number is no whole one from 0 to %d", uint64(maxInteger))
		}
		return n, nil
	case string:
		return t, checkText(t)
	}
	return t, nil // bool or nil
}

// readObject reads the rest of an object.
func readObject(d *json.Decoder, depth int) (object, error) {
	o := make(object)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		if err := checkName(name); err != nil {
			return nil, err
		}
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("the field %s is there twice", name)
		}
		if o[name], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token() // its end
	return o, err
}

// checkName refuses names that would not be sorted alike by all readers.
func checkName(name string) error {
	ok := name != "" && len(name) <= maxName && !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.')
	})
	if !ok {
		return fmt.Errorf("the name of a field is not made of 1 to %d letters, digits, dots, hyphens and underscores of ASCII", maxName)
	}
	return nil
}

// checkText refuses control characters, and what a reader has put in the place of half
// a surrogate pair.
func checkText(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == utf8.RuneError }) {
		return errors.New("a text has a control character, or U+FFFD")
	}
	return nil
}

// appendValue appends the canonical form of a value (RFC 8785). Of that, nothing is left
// to do but to sort names and to leave out spaces: numbers are whole, and texts have
// nothing to escape but quotes and backslashes.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case object:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, name), ':')
			b = appendValue(b, v[name])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, one := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, one)
		}
		return append(b, ']')
	case string:
		return appendText(b, v)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// text returns a text of an object, with at most MaxText bytes.
func (o object) text(name string, needed bool) (string, error) {
	v, there := o[name]
	s, ok := v.(string)
	switch {
	case !there && !needed:
		return "", nil
	case !there || !ok || s == "" && needed || len(s) > MaxText:
		return "", fmt.Errorf("%s is no text of 1 to %d bytes", name, MaxText)
	}
	return s, nil
}

// integer returns a number of an object that is not 0.
func (o object) integer(name string) (uint64, error) {
	n, ok := o[name].(uint64)
	if !ok || n == 0 {
		return 0, fmt.Errorf("%s is no whole number from 1 to %d", name, uint64(maxInteger))
	}
	return n, nil
}

// time returns a time of an object.
func (o object) time(name string) (time.Time, error) {
	s, _ := o[name].(string)
	t, err := time.Parse(timeForm, s)
	if err != nil || t.Format(timeForm) != s {
		return t, fmt.Errorf("%s is no time in UTC, as in %s", name, timeForm)
	}
	return t, nil
}
