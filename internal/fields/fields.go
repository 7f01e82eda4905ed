// Package fields knows which fields of HTTP heads the remote writes by itself, so that
// nothing else may change them, and which only a front may say, so that no visitor does.
// Names are those of [net/http.CanonicalHeaderKey], unless a function says otherwise.
package fields

import "strings"

// OfMessage reports whether a field of a request or an answer frames the message, or
// is about one connection (RFC 9110, section 7.6.1; RFC 9112, section 6; RFC 6455,
// section 11.3).
func OfMessage(canonical string) bool {
	switch canonical {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Content-Length", "Te", "Trailer", "Upgrade", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(canonical, "Sec-Websocket-")
}

// OfRequest reports whether a field of a request is one of these, or says where the
// request goes and comes from.
func OfRequest(canonical string) bool {
	switch canonical {
	case "Host", "Expect", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix":
		return true
	}
	return OfMessage(canonical)
}
