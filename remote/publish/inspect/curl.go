package inspect

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// curl is a request as a command of a POSIX shell. Secrets are left out as a word to
// put in, unless they are asked for. What a program like curl says by itself is left
// out, too. It is made to be pasted: no byte of it is a key of a terminal.
func curl(e *exchange, c *content, secrets bool) string {
	var b strings.Builder
	b.WriteString("curl")
	add := func(words ...string) { b.WriteString(" \\\n  " + strings.Join(words, " ")) }
	body := c.request.body
	switch {
	case e.method == "HEAD":
		add("--head")
	case e.method != "GET" && (e.method != "POST" || len(body) == 0), e.method == "GET" && len(body) > 0:
		add("--request", quoted(e.method))
	}
	if strings.ContainsAny(e.target, "[]{}") {
		add("--globoff")
	}
	if strings.Contains(e.path(), "/.") {
		add("--path-as-is")
	}
	add(quoted("https://" + e.host + e.target))
	for _, f := range fieldsOf(c.request.header) {
		switch name := strings.ToLower(f.Name); {
		case slices.Contains([]string{"host", "content-length", "transfer-encoding", "connection", "x-keystay-replay"}, name):
		case name == "accept-encoding":
			if strings.Contains(f.Value, "gzip") {
				add("--compressed")
			}
		case f.Secret && !secrets:
			add("--header", quoted(f.Name+": (left out)"))
		case f.Value == "":
			add("--header", quoted(f.Name+";"))
		default:
			add("--header", quoted(f.Name+": "+f.Value))
		}
	}
	switch {
	case len(body) == 0:
	case c.request.cut():
		add("--data-binary", quoted("(the body is longer than what is kept)"))
	case isPlain(string(body), "\n\t"):
		add("--data-raw", quoted(string(body)))
	default: // nor does a shell pass a zero byte on
		return "printf %b " + quoted(escaped(body)) + " | " + b.String() + " \\\n  --data-binary @-\n"
	}
	return b.String() + "\n"
}

// quoted is a word of a POSIX shell.
func quoted(s string) string {
	if !isPlain(s, "") {
		return `"$(printf %b ` + "'" + escaped([]byte(s)) + `')"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// isPlain reports whether a text has no character that a terminal takes for a key or a
// command, but for those in but, and is UTF-8.
func isPlain(s, but string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(but, r) })
}

// escaped is what printf %b makes bytes of.
func escaped(p []byte) string {
	const digits = "01234567"
	var b strings.Builder
	for _, c := range p {
		if c >= ' ' && c < 0x7f && c != '\\' && c != '\'' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'\\', '0', digits[c>>6], digits[c>>3&7], digits[c&7]})
	}
	return b.String()
}
