package config

import (
	"fmt"
	"strings"

	"keystay/internal/hint"
)

// oneOf reports a value that is none of the allowed words.
func (e *Errors) oneOf(key, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	var hints []string
	if n := hint.Nearest(value, words); n != "" {
		hints = append(hints, fmt.Sprintf("did you mean %q?", n))
	}
	last := len(words) - 1
	e.add(key, fmt.Sprintf("%s is not %s or %s", quote(value), strings.Join(words[:last], ", "), words[last]), hints...)
}
