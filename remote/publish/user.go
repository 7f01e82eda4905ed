package publish

import (
	"maps"
	"net/http"
)

// TellUser makes the header of a request one that a service may get whose visitor has
// signed in at a gate: of all fields by which a front tells of a visitor it has those in
// told alone, which may be empty.
func TellUser(h, told http.Header) {
	dropFrontFields(h)
	maps.Copy(h, told)
}
