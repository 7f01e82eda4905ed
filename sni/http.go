package sni

import (
	"io"
	"strings"
)

// httpMethods begin a request of HTTP/1 (RFC 9110, section 9.1, and PATCH). The
// preface of HTTP/2 is not among them: a client that sends it does not read HTTP/1.
var httpMethods = [...]string{"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "}

// maxMethod is how many bytes tell whether a request is HTTP/1.
const maxMethod = len("OPTIONS ")

// LooksLikeHTTP reads from c until it can tell whether what the peer sends is a
// request of HTTP/1, of which first has been read already. It reads no more than
// some bytes, within the deadline of c, which Read leaves as it was on ErrNotTLS.
func LooksLikeHTTP(c io.Reader, first []byte) bool {
	b := append([]byte(nil), first[:min(len(first), maxMethod)]...)
	for {
		may := false
		for _, m := range httpMethods {
			if strings.HasPrefix(string(b), m) {
				return true
			}
			may = may || strings.HasPrefix(m, string(b))
		}
		if !may {
			return false
		}
		var next [1]byte
		if _, err := io.ReadFull(c, next[:]); err != nil {
			return false
		}
		b = append(b, next[0])
	}
}

// refusal is what net/http answers in such a case.
const refusal = "Client sent an HTTP request to an HTTPS server.\n"

// RefuseHTTP tells a peer that speaks HTTP/1 where TLS is wanted, with status 400,
// and closes c as Refuse does.
func RefuseHTTP(c Conn) {
	lastWord(c, []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"+refusal))
}
