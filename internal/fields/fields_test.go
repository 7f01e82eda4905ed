package fields_test

import (
	"fmt"
	"net/http"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/fields"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A field that frames a message is so in both directions; one that says where a request comes
// from is no matter of answers. All else is anybody's.
func TestFieldsOfTheRemote(t *testing.T) {
	for name, want := range map[string]string{
		"connection": "both", "TE": "both", "HTTP2-Settings": "both", "content-length": "both", "Sec-WebSocket-Key": "both",
		"host": "requests", "X-Forwarded-Prefix": "requests", "forwarded": "requests",
		"Cookie": "none", "X-Real-IP": "none", "Content-Type": "none", "Set-Cookie": "none", "X-Forwarded-User": "none",
	} {
		name = http.CanonicalHeaderKey(name)
		got := map[[2]bool]string{{true, true}: "both", {false, true}: "requests", {}: "none"}[[2]bool{fields.OfMessage(name), fields.OfRequest(name)}]
		if got != want {
			t.Errorf("%s is the remote's in %q, want %q", name, got, want)
		}
	}
}

func ExampleOfRequest() {
	fmt.Println(fields.OfRequest("X-Forwarded-For"), fields.OfRequest("X-From"))
	// Output: true false
}

// Names are the same to some services that others tell apart.
func TestSameNames(t *testing.T) {
	for _, same := range []string{"X-Role", "x-role", "X_Role", "x.ROLE", "X!rOLE"} {
		if !fields.Same(same, "X-Role") || !fields.Same("x_role", same) {
			t.Errorf("%s is another one", same)
		}
	}
	for _, other := range []string{"", "X-Rolf", "X-Role-", "XxRole", "X0Role"} {
		if fields.Same(other, "X-Role") {
			t.Errorf("%q is the same", other)
		}
	}
}

// What a request is for may be said by fields, in each spelling that a service takes for them.
func TestFieldsOfMethodAndSource(t *testing.T) {
	for _, name := range []string{"X-HTTP-Method-Override", "x_http_method", "X.Method.Override"} {
		if !fields.OfMethod(name) || fields.OfSource(name) {
			t.Errorf("%s names no method, or a source", name)
		}
	}
	for _, name := range []string{"X-Amz-Copy-Source", "x_copy_from", "X-Ms-Rename-Source", "X-Symlink-Target"} {
		if !fields.OfSource(name) || fields.OfMethod(name) {
			t.Errorf("%s names no source, or a method", name)
		}
	}
	for _, name := range []string{"Destination-Account", "x_copy_from_account", "X-Symlink-Target-Account"} {
		if !fields.OfAccount(name) || fields.OfSource(name) {
			t.Errorf("%s names no account, or a source", name)
		}
	}
	for _, name := range []string{"", "X-Account", "X-Copy-From", "Destination"} {
		if fields.OfAccount(name) {
			t.Errorf("%q names an account", name)
		}
	}
	if !fields.OfManifest("x_object_manifest") || fields.OfManifest("X-Object-Manifests") {
		t.Error("X-Object-Manifest is not the one field of manifests")
	}
	for _, name := range []string{"", "X-Method", "-Copy-Source", "X-Amz-Copy-Source-If-Match", "X-Copy"} {
		if fields.OfMethod(name) || fields.OfSource(name) {
			t.Errorf("%q names a method or a source", name)
		}
	}
}
