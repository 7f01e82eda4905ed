package gate_test

import (
	"net/http"
	"testing"

	"keystay/remote/publish/gate"
)

// Express mounts a folder in any case, and the files below it have case on Linux: there
// /PHOTOS/public/x is no file of /photos/Public, but one of /photos.
func TestFolderWithoutCaseAboveFilesWithCase(t *testing.T) {
	x := newRig(t, nil,
		gate.Rule{Paths: []string{"/photos"}, Passwords: users(t, "ada:secret")},
		gate.Rule{Paths: []string{"/photos/Public"}, Addresses: ranges("192.0.2.0/24")},
		gate.Rule{Paths: []string{"/s"}, Passwords: users(t, "ada:secret")},
		gate.Rule{Paths: []string{"/s/AbCdEf"}, Addresses: ranges("192.0.2.0/24")},
	)
	for target, want := range map[string]int{
		"/photos/public/x": http.StatusUnauthorized,
		"/PHOTOS/public/x": http.StatusUnauthorized,
		"/PHOTOS/Public/x": http.StatusUnauthorized,
		"/PHOTOS/x":        http.StatusUnauthorized,
		"/photos/Public/x": http.StatusOK,
		"/S/aBcDeF":        http.StatusUnauthorized,
		"/s/aBcDeF":        http.StatusUnauthorized,
		"/s/AbCdEf":        http.StatusOK,
	} {
		x.want(target, x.get(target), want)
	}
}
