package publish

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxLine bounds a line of a head, and of the framing of a chunked body, that a
// follower looks at. It loses its place at a longer one.
const maxLine = 8 << 10

// A head is what a follower keeps of one: what net/http does not tell.
type head struct {
	// spelling has the fields that are not spelt as net/http spells them, each
	// as it was the first time.
	spelling []string

	// codingIn10 says that a message of HTTP/1.0 has a Transfer-Encoding.
	codingIn10 bool

	// pragmaAlone says that there is a Pragma and no Cache-Control: then package
	// net/http may have put one in.
	pragmaAlone bool

	// reason is the phrase behind an answer's status.
	reason string
}

// A follower follows the messages of one direction of an HTTP/1 connection while
// net/http reads them. It decides nothing of theirs: where it does not know any
// more what comes, it is lost, and fields get the spelling of net/http. It keeps
// one line at most, and of a head what a head has.
type follower struct {
	answers bool // not requests
	place   place
	line    []byte // the beginning of a line that has not ended
	left    int64  // of the body or of the chunk
	now     head   // the head that is read
	fields  int    // lines of that head so far, without the first
	http10  bool
	length  int64 // the Content-Length, or -1
	chunked bool
	upgrade bool // the head asks for another protocol
	pragma  bool // it has a Pragma
	cache   bool // it has a Cache-Control
	status  int

	// For answers alone.
	toHEAD  bool
	payload int64 // bytes of the body that have come
}

// A place is where in a message a follower is.
type place int

const (
	atStart    place = iota // before the first line
	inHead                  // between the first line and the empty one
	inBody                  // with a length
	inChunk                 // in the data of a chunk
	atChunk                 // before the size of a chunk
	behindData              // before the line break behind a chunk's data
	inTrailer
	toEnd // a body that ends with the connection
	over  // behind an answer
	other // behind a request for another protocol, which may come now
	lost
)

// next begins to wait for an answer to a request with the method.
func (f *follower) next(method string) {
	*f = follower{answers: true, line: f.line[:0], length: -1, toHEAD: method == http.MethodHead}
}

// follow looks at bytes that net/http is about to get, at most up to the start of
// a message, and returns how many. done is called at the end of each head.
func (f *follower) follow(p []byte, done func(head)) int {
	all := len(p)
	for begun := false; len(p) > 0 && !(begun && f.fresh()); begun = true {
		switch f.place {
		case inBody, inChunk:
			n := min(f.left, int64(len(p)))
			p, f.left, f.payload = p[n:], f.left-n, f.payload+n
			if f.left == 0 {
				f.ended(f.place == inChunk)
			}
		case toEnd:
			f.payload += int64(len(p))
			return all
		case other:
			f.place = lost
		case over, lost:
			return all
		default:
			i := bytes.IndexByte(p, '\n')
			if len(f.line)+max(i, 0) > maxLine || i < 0 && len(f.line)+len(p) > maxLine {
				f.place = lost
				return all
			}
			if i < 0 {
				f.line = append(f.line, p...)
				return all
			}
			line := p[:i]
			if len(f.line) > 0 {
				f.line = append(f.line, line...)
				line = f.line
			}
			f.take(bytes.TrimSuffix(line, []byte("\r")), done)
			f.line, p = f.line[:0], p[i+1:]
		}
	}
	return all - len(p)
}

// fresh reports whether the next byte is the first of a message.
func (f *follower) fresh() bool { return f.place == atStart && len(f.line) == 0 }

// resume goes on with HTTP behind a request for another protocol that was not
// granted, if nothing has come meanwhile.
func (f *follower) resume() {
	if f.place == other {
		f.place = atStart
	}
}

// take looks at a line without its end.
func (f *follower) take(line []byte, done func(head)) {
	switch f.place {
	case atStart:
		f.first(line)
	case inHead:
		if len(line) > 0 {
			f.fields++
			f.field(line)
			return
		}
		f.now.pragmaAlone = f.pragma && !f.cache
		if f.place = f.body(); f.place != lost {
			done(f.now)
		}
	case atChunk:
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(bytes.TrimRight(size, " \t")), 16, 64)
		switch {
		case err != nil || n < 0:
			f.place = lost
		case n == 0:
			f.place = inTrailer
		default:
			f.place, f.left = inChunk, n
		}
	case behindData:
		f.place = atChunk
		if len(line) > 0 {
			f.place = lost
		}
	case inTrailer:
		if len(line) == 0 {
			f.ended(false)
		}
	}
}

// ended goes on behind a body, or behind a chunk of it.
func (f *follower) ended(chunk bool) {
	switch {
	case chunk:
		f.place = behindData
	case f.answers:
		f.place = over
	case f.upgrade:
		f.place = other
	default:
		f.place = atStart
	}
}

// first begins a head.
func (f *follower) first(line []byte) {
	f.place, f.now, f.fields, f.length, f.chunked, f.upgrade = inHead, head{}, 0, -1, false, false
	f.pragma, f.cache = false, false
	if !f.answers {
		f.http10 = bytes.HasSuffix(line, []byte(" HTTP/1.0"))
		return
	}
	version, rest, _ := bytes.Cut(line, []byte(" "))
	code, reason, _ := bytes.Cut(rest, []byte(" "))
	status, err := strconv.Atoi(string(code))
	if err != nil || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		f.place = lost
		return
	}
	f.status, f.now.reason = status, string(reason)
}

// field looks at a line of a head.
func (f *follower) field(line []byte) {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || line[0] == ' ' || line[0] == '\t' { // net/http knows what to do
		return
	}
	switch value = bytes.TrimSpace(value); len(name) {
	case len("Pragma"):
		f.pragma = f.pragma || bytes.EqualFold(name, []byte("Pragma"))
	case len("Cache-Control"):
		f.cache = f.cache || bytes.EqualFold(name, []byte("Cache-Control"))
	case len("Upgrade"):
		f.upgrade = f.upgrade || bytes.EqualFold(name, []byte("Upgrade"))
	case len("Content-Length"):
		if bytes.EqualFold(name, []byte("Content-Length")) {
			n, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil || n < 0 || f.length >= 0 && f.length != n {
				f.place = lost
				return
			}
			f.length = n
		}
	case len("Transfer-Encoding"):
		if bytes.EqualFold(name, []byte("Transfer-Encoding")) {
			f.now.codingIn10 = f.http10
			f.chunked = true
			if !bytes.EqualFold(value, []byte("chunked")) && !f.http10 {
				f.place = lost
				return
			}
		}
	}
	if !isCanonical(name) && isToken(string(name)) {
		f.now.spelling = append(f.now.spelling, string(name))
	}
}

// body is the place behind a head (RFC 9112, section 6.3).
func (f *follower) body() place {
	if f.answers {
		switch {
		case f.status == http.StatusSwitchingProtocols:
			return over
		case f.status < 200: // another one comes; its fields are spelt alike
			return atStart
		case f.toHEAD, f.status == http.StatusNoContent, f.status == http.StatusNotModified:
			return over
		}
	}
	switch {
	case f.chunked:
		return atChunk
	case f.length > 0:
		f.left = f.length
		return inBody
	case f.answers && f.length < 0:
		return toEnd
	case f.answers:
		return over
	case f.upgrade:
		return other
	}
	return atStart
}

// isCanonical reports whether a name is spelt as net/http spells it.
func isCanonical(name []byte) bool {
	upper := true
	for _, c := range name {
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			return false
		}
		upper = c == '-'
	}
	return true
}

// isOwn reports whether a field is one that net/http looks for by its own
// spelling, and writes anew.
func isOwn(canonical string) bool {
	switch canonical {
	case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Upgrade", "Te", "Expect", "Keep-Alive":
		return true
	}
	return false
}

// dropAdded takes out of h what package net/http has put in when it read the head: a
// Cache-Control beside a Pragma.
func (h *head) dropAdded(fields http.Header) {
	if h.pragmaAlone {
		delete(fields, "Cache-Control")
	}
}

// spell renames the fields of h to what a head says. It leaves those that
// net/http has to find.
func spell(h http.Header, spelling []string) {
	for _, name := range spelling {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		values, ok := h[canonical]
		if !ok || canonical == name || values == nil || isOwn(canonical) {
			continue
		}
		delete(h, canonical)
		h[name] = values
		if canonical == "User-Agent" || canonical == "Content-Type" || canonical == "Date" {
			h[canonical] = nil // else net/http puts one of its own in
		}
	}
}

// usual gives fields the spelling that is common in HTTP/1.1, where net/http has
// another one: for messages that come over HTTP/2, which has no case.
func usual(h http.Header) {
	for name := range h {
		if common := usualSpelling(name); common != "" {
			spell(h, []string{common})
		}
	}
}

func usualSpelling(canonical string) string {
	switch canonical {
	case "Etag":
		return "ETag"
	case "Www-Authenticate":
		return "WWW-Authenticate"
	case "Dnt":
		return "DNT"
	case "Sec-Gpc":
		return "Sec-GPC"
	case "Dpop":
		return "DPoP"
	case "Soapaction":
		return "SOAPAction"
	case "Content-Md5":
		return "Content-MD5"
	case "X-Csrf-Token":
		return "X-CSRF-Token"
	case "X-Xsrf-Token":
		return "X-XSRF-TOKEN"
	case "X-Api-Key":
		return "X-API-Key"
	case "X-Request-Id":
		return "X-Request-ID"
	case "X-Xss-Protection":
		return "X-XSS-Protection"
	case "X-Ua-Compatible":
		return "X-UA-Compatible"
	case "X-Dns-Prefetch-Control":
		return "X-DNS-Prefetch-Control"
	}
	if rest, ok := strings.CutPrefix(canonical, "Sec-Websocket-"); ok {
		return "Sec-WebSocket-" + rest
	}
	if rest, ok := strings.CutPrefix(canonical, "Sec-Ch-Ua"); ok {
		return "sec-ch-ua" + strings.ToLower(rest) // as Chromium spells it in HTTP/1.1
	}
	return ""
}
