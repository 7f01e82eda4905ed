// Package urlpath reads the target of a request, makes the one that is passed on, reads
// its path as services commonly do, and knows where they may disagree about it: a route or
// a gate that decides by a path must not read another path than the service behind it.
package urlpath

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Clean returns how services commonly read the path of a request target, given as
// the visitor has sent it, without a query: percent-decoded once, each backslash as
// a slash, each segment without what follows a semicolon, empty and dot segments
// resolved. It begins with a slash, and ends with one where the path names a folder.
//
// Plain is false where services may read the path in different ways, so that
// nothing is to be decided by it:
//   - it does not begin with a slash, or has a backslash, a semicolon, a question
//     mark or a number sign;
//   - an escape in it is broken, stands for one of / \ ; ? # or for a dot, or what it
//     stands for could be decoded once more;
//   - a segment is empty, which the last one may be, or a dot segment, ends with a
//     dot or a space, may be another name of a file on Windows (8.3, streams), or is
//     left out by ASP.NET, as (S(x));
//   - it has a control character, is not UTF-8 or not in Unicode's normal form C, or
//     has a character that is compatible with one of these, such as a full-width
//     slash.
func Clean(escapedPath string) (clean string, plain bool) {
	if isSimple(escapedPath) {
		return escapedPath, true
	}
	decoded, plain := decode(escapedPath)
	if !strings.HasPrefix(escapedPath, "/") || strings.ContainsAny(escapedPath, `\;?#`) || !isPlainText(decoded) {
		plain = false
	}
	segments := strings.Split(strings.ReplaceAll(decoded, `\`, "/"), "/")
	if segments[0] == "" {
		segments = segments[1:] // before the first slash
	}
	var kept []string
	folder := true
	for i, s := range segments {
		name, _, _ := strings.Cut(s, ";")
		folder = name == "" || name == "." || name == ".."
		switch {
		case !folder:
			kept = append(kept, name)
			plain = plain && !isAmbiguous(name)
		case name == "..":
			kept, plain = kept[:max(0, len(kept)-1)], false
		case s != "" || i < len(segments)-1:
			plain = false
		}
	}
	clean = "/" + strings.Join(kept, "/")
	if folder && len(kept) > 0 {
		clean += "/"
	}
	return clean, plain
}

// CleanURL is [Clean] for a URL or a path in a field, such as WebDAV's Destination. Plain is
// false as well where services may read another path than the URL has: of //a/b some have
// the path /b, and others /a/b, since they take two slashes for one; some decode all of a
// URL first, and see in x://a%2Fb@c/d the path /b@c/d; and a query or a fragment may be a
// part of the path.
func CleanURL(s string) (clean string, plain bool) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "?#") {
		return "", false
	}
	if _, rest, ok := strings.Cut(s, "://"); ok && u.Scheme != "" {
		if _, plain := decode(UntilAny(rest, "/")); !plain {
			return "", false
		}
	}
	if u.RawPath != "" { // else EscapedPath may be another spelling than that in s
		return Clean(u.RawPath)
	}
	return Clean(u.EscapedPath())
}

// isSimple reports whether a path is plain and read as it is: this is for speed, and
// knows the most common paths alone.
func isSimple(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := range len(p) {
		switch c := p[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '/' && (i == 0 || p[i-1] != '/' && p[i-1] != '.'):
		case c == '.' && p[i-1] != '/' && p[i-1] != '.' && i < len(p)-1:
		default:
			return false
		}
	}
	return true
}

// decode decodes escapes once. One that is broken stays as it is.
func decode(s string) (decoded string, plain bool) {
	plain = true
	if !strings.Contains(s, "%") {
		return s, plain
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c, ok := escape(s[i:])
		if !ok {
			plain = plain && s[i] != '%'
			b.WriteByte(s[i])
			continue
		}
		plain = plain && strings.IndexByte(`/\;?#.`, c) < 0
		b.WriteByte(c)
		i += 2
	}
	decoded = b.String()
	for i := range len(decoded) {
		_, again := escape(decoded[i:])
		plain = plain && !again
	}
	return decoded, plain
}

// escape returns what the escape at the start of s stands for, if there is one.
func escape(s string) (c byte, ok bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	for _, digit := range []byte(s[1:3]) {
		switch {
		case '0' <= digit && digit <= '9':
			c = c<<4 | (digit - '0')
		case 'a' <= digit|0x20 && digit|0x20 <= 'f':
			c = c<<4 | (digit | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return c, true
}

// isPlainText reports whether a decoded path is text that file systems and
// programs do not take for another one that has a meaning in paths.
func isPlainText(s string) bool {
	ascii := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return true
	}
	if !utf8.ValidString(s) || !norm.NFC.IsNormalString(s) || strings.ContainsAny(s, lookAlikes) || strings.ContainsFunc(s, unicode.IsControl) {
		return false
	}
	for i, r := range s {
		if r >= utf8.RuneSelf && bytes.ContainsFunc(norm.NFKC.PropertiesString(s[i:]).Decomposition(), isSpecial) {
			return false
		}
	}
	return true
}

// lookAlikes are what some code pages turn into a slash, a backslash or a colon.
const lookAlikes = "\u2044\u2215\u2216\u2236\u29F8\u29F9"

// isSpecial reports whether a character has a meaning in paths.
func isSpecial(r rune) bool { return r <= ' ' || strings.ContainsRune(`/\.;?#%:`, r) }

// isAmbiguous reports whether a segment may be another name of a file on Windows, or none:
// there dots and spaces at the end are left out, NAME::$DATA is what is in NAME, and
// LONGNA~1 is a file whose name begins like this. ASP.NET reads /(S(x))/a as /a, since it
// looks for a session, or a ticket, in segments that begin like this.
func isAmbiguous(segment string) bool {
	if len(segment) > 3 && segment[0] == '(' && 'a' <= segment[1]|0x20 && segment[1]|0x20 <= 'z' && segment[2] == '(' && strings.Contains(segment, "))") {
		return true
	}
	if strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " ") || strings.Contains(segment, ":$") {
		return true
	}
	if strings.HasSuffix(segment, "+") { // which may be a space, see Fold
		bare := strings.TrimRight(segment, "+. ")
		if bare == "" {
			return strings.Contains(segment, ".")
		}
		segment = bare
	}
	stem := segment
	if i := strings.LastIndexByte(stem, '.'); i >= 0 && len(stem)-i <= len(".ext") {
		stem = stem[:i]
	}
	i := strings.LastIndexByte(stem, '~')
	return i > 0 && len(stem) <= len("LONGNA~1") && i < len(stem)-1 && strings.Trim(stem[i+1:], "0123456789") == ""
}

// Has reports whether a path of [Clean] is prefix or below it, by whole segments:
// "/api" and "/api/" both have "/api", "/api/" and "/api/x", and not "/apis". "/" has
// every path.
func Has(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Fold returns a path in which all spellings are one that a service may take for
// one: without case, as Unicode and as Java have it, with compatible characters as one
// (NFKC), without characters that cannot be seen, which the file system of older
// Macs ignores, and with a space for a plus, as Java's URLDecoder and S3 read it.
func Fold(path string) string {
	folded := strings.ToLower
	if strings.ContainsFunc(path, func(r rune) bool { return r >= utf8.RuneSelf }) {
		folded = func(s string) string {
			return norm.NFKC.String(cases.Fold().String(strings.Map(fold, norm.NFKC.String(s))))
		}
	}
	return strings.ReplaceAll(folded(path), "+", " ")
}

// Bare returns a path of [Fold] as a service may take it that reads a plus as a space, and leaves
// out dots and spaces at the end of a name, as Windows does.
func Bare(folded string) string {
	if !strings.Contains(folded, " /") && !strings.HasSuffix(folded, " ") {
		return folded
	}
	b := make([]byte, 0, len(folded)) // a path may have very many segments
	for s := range strings.SplitAfterSeq(folded, "/") {
		name, slash := strings.CutSuffix(s, "/")
		if bare := strings.TrimRight(name, ". "); bare != "" && strings.HasSuffix(name, " ") {
			name = bare
		}
		if b = append(b, name...); slash {
			b = append(b, '/')
		}
	}
	return string(b)
}

// fold takes away what the case of a character is in Java, where the Turkish ı and İ
// are an i, and characters that cannot be seen.
func fold(r rune) rune {
	if unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) {
		return -1
	}
	return unicode.ToLower(unicode.ToUpper(r))
}
