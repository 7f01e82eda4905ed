package inspect

import (
	"slices"
	"strings"
)

// curl is a request as a command of a POSIX shell. Secrets are left out as a word to
// put in, unless they are asked for. What a program like curl says by itself is left
// out, too.
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
	case !strings.Contains(string(body), "\x00") && isText(body, false):
		add("--data-raw", quoted(string(body)))
	default: // no shell passes a zero byte on
		return "printf %b " + quoted(escaped(body)) + " | " + b.String() + " \\\n  --data-binary @-\n"
	}
	return b.String() + "\n"
}

// quoted is a word of a POSIX shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

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
