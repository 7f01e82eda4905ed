package publish

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"

	"keystay/internal/fields"
)

// TellUser makes the header of a request one that a service may get whose visitor has
// signed in at a gate: of all fields by which a front tells of a visitor it has those in
// told alone, which may be empty.
func TellUser(h, told http.Header) {
	fields.DropOfFront(h)
	dropNamed(h)
	maps.Copy(h, told)
}

// dropNamed drops the fields that Connection names (RFC 9110, section 7.6.1), and their
// names from it: a field that is set from here on is not the visitor's to take away.
// Options about the connection itself, such as Upgrade, stay.
func dropNamed(h http.Header) {
	var kept []string
	for option := range strings.SplitSeq(strings.Join(h["Connection"], ","), ",") {
		option = textproto.TrimString(option)
		switch name := textproto.CanonicalMIMEHeaderKey(option); {
		case name == "Close" || fields.OfMessage(name):
			kept = append(kept, option)
		default:
			delete(h, name)
		}
	}
	delete(h, "Connection")
	if len(kept) > 0 {
		h["Connection"] = []string{strings.Join(kept, ", ")}
	}
}
