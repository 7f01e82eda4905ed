package gate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"keystay/remote/publish/gate"
)

// WebDAV writes to the path in Destination: that one needs its gate, too.
func TestDestinationNeedsItsGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	for to, status := range map[string]int{
		"https://" + name + "/admin/x": 401, "/admin/x": 401, "//other/ADMIN": 400, "//admin/x": 400, "//x/open": 400, "/open?/../admin": 400, "https://" + name + "/open#/../admin": 400, "https://" + name + "//admin": 400, "https://" + name + "/x/../admin": 400, "https://" + name + "/%2561dmin": 400, "x:admin": 400, "x:/admin": 400, "admin": 401, "open": 200, "https://" + name + "/%zz": 400, "": 400,
		"http://" + name + "%2Fadmin%2Fx@" + name + "/open": 400, "https://" + name + "%2Fadmin%2Fx:y@" + name + "/open": 400, "/open x%2fadmin": 400, "https://" + name + "/a b%2Fc": 400,
		"https://ada:wind@" + name + "/open": 200, "https://ada%40" + name + ":a%20b@" + name + "/open": 200, "https://ada%252Fadmin%252F@" + name + "/open": 400, "https://ada%5cadmin@" + name + "/open": 400, "https://ada%3f@" + name + "/open": 400, "https://" + name + ":443/open": 200, "HTTPS://XYZ.Relay.test/open": 200, "/open/a b/\u00FCber": 200, "/open/a%20b/%C3%BCber": 200, "https://" + name + "/open/\"a\"/%E6%97%A5/": 200,
		"https://" + name + "/open": 200, "/open": 200,
	} {
		for _, method := range []string{"COPY", "MOVE", "LINK", "PUT"} {
			x.want(method+" to "+to, x.do(method, "/open/x", nil, header("Destination", to)), status)
		}
	}
	x.want("below the account of an object storage", x.do("COPY", "/open/x", nil, header("Destination", "x/../admin")), 400)
	x.want("two of them", x.do("COPY", "/open/x", nil, header("Destination", "/open", "Destination", "/admin")), 401)
	x.want("from there", x.do("COPY", "/admin/x", nil, header("Destination", "/open")), 401)
	x.want("signed in", x.do("COPY", "/open/x", nil, header("Destination", "/admin/x"), basic("ada", "wind")), 200)
}

// Storages of objects copy from the path in a field: what is there needs its gate, too. They
// may have a prefix of the request's path for their root, and a folder may be renamed.
func TestSourceOfACopyNeedsItsGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/s3/private", "/private", "/a b"}, Passwords: users(t, "ada:wind")})
	for _, c := range []struct {
		field, from string
		status      int
	}{
		{"x-amz-copy-source", "/private/key", 401}, {"X-Amz-Copy-Source", "private/key?versionId=1", 401}, {"X-Amz-Copy-Source", "/s3/private/key", 401}, {"X_Amz_Copy_Source", "/Private/a%20b", 401},
		{"X-Oss-Copy-Source", "/private/key", 401}, {"X-Copy-From", "/private/key", 401}, {"X-Ms-Copy-Source", "https://" + name + "/private/key?sig=x", 401}, {"X-Ms-Rename-Source", "/s3", 401},
		// MinIO parses it as a URL; some clients escape the slashes, too, and some servers take a plus for a space.
		{"X-Amz-Copy-Source", "x:/private/key", 400}, {"X-Amz-Copy-Source", "x%3A/private/key", 400}, {"X-Amz-Copy-Source", "private%2Fkey", 401}, {"X-Amz-Copy-Source", "%2fopen%2Fa%20b", 200}, {"X-Amz-Copy-Source", "open%2F..%2Fprivate/key", 400}, {"X-Amz-Copy-Source", "/a+b/key", 401}, {"X-Amz-Copy-Source", "/open/a+b", 200},
		{"X-Amz-Copy-Source", "/open/key?x=/../../private/key", 400}, {"X-Amz-Copy-Source", "/open/key?x=%2F..%2F../private/key", 400},
		{"X-Amz-Copy-Source", "//private/key", 400}, {"X-Amz-Copy-Source", "/open/../private/key", 400}, {"X-Amz-Copy-Source", "", 400}, {"X-Amz-Copy-Source", "http://a%2Fprivate%2F@b/open", 400},
		{"X-Amz-Copy-Source", "/open/a%20b?versionId=1", 200}, {"X-Amz-Copy-Source", "open/\u00FCber", 200}, {"X-Amz-Copy-Source-If-Match", "/private/key", 200}, {"X-Ms-Copy-Source", "https://blob.test/open/key?sv=1&sig=a%2Fb", 200},
	} {
		x.want(c.field+": "+c.from, x.do("PUT", "/s3/open/key", nil, header(c.field, c.from)), c.status)
	}
	x.want("signed in", x.do("PUT", "/s3/open/key", nil, header("X-Amz-Copy-Source", "/private/key"), basic("ada", "wind")), 200)
	x.want("deep down", x.do("PUT", strings.Repeat("/a", 100), nil, header("X-Amz-Copy-Source", "/open/key")), 400)
}

// Swift has a Destination at the account that the request's path is in.
func TestDestinationBelowAnAccountNeedsItsGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/v1/me/private"}, Passwords: users(t, "ada:wind")})
	for to, status := range map[string]int{"/private/x": 401, "private/x": 401, "/Private/x": 401, "/open/x": 200, "open/x": 200, "https://" + name + "/private/x": 200} {
		x.want(to, x.do("COPY", "/v1/me/open/x", nil, header("Destination", to)), status)
	}
}

// Swift takes the account in a path from a further field, and leads from one object to others.
func TestOtherAccountsAndLinksNeedTheirGate(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/v1/me/private", "/v1/me/c/private"}, Passwords: users(t, "ada:wind")})
	for _, c := range []struct {
		method string
		change change
		status int
	}{
		{"COPY", header("Destination", "private/x", "Destination-Account", "me"), 401}, {"COPY", header("Destination", "/private/x", "destination_account", "%6de"), 401}, {"COPY", header("Destination", "private/x", "Destination-Account", "others"), 200}, {"COPY", header("Destination", "open/x", "Destination-Account", "me"), 200},
		{"PUT", header("X-Copy-From", "private/x", "X-Copy-From-Account", "me"), 401}, {"PUT", header("X-Copy-From", "/private/x", "X-Copy-From-Account", "others", "X_Copy_From_Account", "Me"), 401}, {"PUT", header("X-Copy-From", "private/x", "X-Copy-From-Account", "../me"), 400}, {"PUT", header("X-Copy-From", "open/x", "X-Copy-From-Account", "me"), 200},
		{"COPY", header("Destination", "x", "Destination-Account", "1", "Destination-Account", "2", "Destination-Account", "3", "Destination-Account", "4"), 400},
		{"PUT", header("X-Symlink-Target", "me/private/x"), 401}, {"PUT", header("X-Symlink-Target", "private/x", "X-Symlink-Target-Account", "me"), 401}, {"PUT", header("X-Symlink-Target", "open/x"), 200},
		// A manifest names all objects whose names begin so.
		{"PUT", header("X-Object-Manifest", "me/private/x"), 401}, {"PUT", header("X-Object-Manifest", "me/c/priv"), 401}, {"PUT", header("X-Object-Manifest", "me/c%2Fpriv"), 401}, {"PUT", header("X-Object-Manifest", "private%2Fx"), 400}, {"PUT", header("X-Object-Manifest", "me/open/x/00"), 200}, {"PUT", header("X-Object-Manifest", "segments/x/"), 200},
		{"PUT", header("Destination-Account", "me"), 200},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		c.change(r)
		x.want(fmt.Sprint(c.method, r.Header), x.do(c.method, "/v1/other/open/x", nil, c.change), c.status)
	}
}

// What a request may be taken for is remembered until it ends: that is no more than it needs,
// since its head is what a request counts for.
func TestMethodsInARequestTakeNoMemory(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	const requests, most = 50, 64 << 10
	held := make(chan struct{}, requests)
	release := make(chan struct{})
	open := x.gate.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		held <- struct{}{}
		<-release
	}))
	many := strings.Repeat("A,", 25000)
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			r := httptest.NewRequest("GET", "/open", nil)
			r.Host, r.URL.RawQuery = name, "_method="+many
			r.Header.Set("X-HTTP-Method-Override", many)
			open.ServeHTTP(httptest.NewRecorder(), r)
		})
	}
	for range requests {
		<-held
	}
	behind := inUse()
	close(release)
	all.Wait()
	if each := (int64(behind) - int64(before)) / requests; each > most+2*int64(len(many)) {
		t.Errorf("a request with %d bytes of methods takes %d", 2*len(many), each)
	}
}

// What a request names besides its path is looked at in a short time, however much that is.
func TestManyPathsInFieldsAreInDoubt(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/admin"}, Passwords: users(t, "ada:wind")})
	deep, long := strings.Repeat("/b", 31), "/"+strings.Repeat("\u0390", 2000)
	for _, field := range []string{"X-Copy-From", "Destination"} {
		one := header(field, long)
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		x.want("one "+field, x.do("PUT", deep, nil, one), 200)
		runtime.ReadMemStats(&behind)
		if n := behind.TotalAlloc - before.TotalAlloc; n > 1<<20 { // each spelling takes 100 KB
			t.Errorf("one %s takes %d bytes", field, n)
		}
		x.want("many of "+field, x.do("PUT", deep, nil, one, one, one, one, one), 400)
		x.want("some of "+field, x.do("PUT", deep, nil, header(field, "/open", field, "/open")), 200)
	}
	// Four are enough for much work, where each is long, or what they are below.
	below, plus := "/"+strings.Repeat("b", 28000)+deep[2:], "/"+strings.Repeat("b+", 4000)+"b"
	for what, c := range map[string]struct {
		path, from string
		status     int
	}{"long ones": {below, plus, 400}, "ones to fold": {"/b", long[:len(long)/2+1] + "+b" + long[len(long)/2+1:], 400}, "long ones of ASCII": {"/b", plus, 200}, "deep ones": {deep, deep, 200}} {
		var before, behind runtime.MemStats
		runtime.ReadMemStats(&before)
		x.want(what, x.do("PUT", c.path, nil, header("X-Copy-From", c.from, "X-Copy-From", c.from, "X-Copy-From", c.from, "X-Copy-From", c.from)), c.status)
		runtime.ReadMemStats(&behind)
		if n := behind.TotalAlloc - before.TotalAlloc; n > 2<<20 {
			t.Errorf("%s take %d bytes", what, n)
		}
	}
}

// A folder of WebDAV is moved, copied, removed and listed with all that is in it: that
// needs the gates of what is below it, too.
func TestWholeFoldersNeedTheGatesBelow(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Paths: []string{"/docs/private"}, Passwords: users(t, "ada:wind")})
	to := func(path string) change { return header("Destination", "https://"+name+path) }
	for _, c := range []struct {
		method, path string
		change       change
		status       int
	}{
		{"COPY", "/docs", to("/x"), 401}, {"COPY", "/", to("/x"), 401}, {"MOVE", "/docs/", to("/x"), 401}, {"MOVE", "/DOCS", to("/x"), 401},
		{"COPY", "/x", to("/docs"), 401}, {"MOVE", "/x", to("/"), 401}, {"MOVE", "/x", to("/Docs/"), 401},
		{"DELETE", "/docs", header(), 401}, {"DELETE", "/", header(), 401},
		{"PROPFIND", "/docs", header(), 401}, {"PROPFIND", "/", header("Depth", "infinity"), 401}, {"PROPFIND", "/", header("Depth", "Infinity"), 401}, {"PROPFIND", "/", header("Depth", "1", "Depth", "infinity"), 401},
		{"delete", "/docs", header(), 401}, {"Copy", "/", to("/x"), 401}, {"propfind", "/", header("Depth", "1"), 200},
		{"POST", "/docs", header("X-HTTP-Method-Override", "DELETE"), 401}, {"POST", "/docs", header("X-Http-Method", "delete"), 401}, {"GET", "/docs", header("X-Method-Override", "MOVE"), 401},
		{"POST", "/docs", header("X-HTTP-Method-Override", "PUT", "X-HTTP-Method-Override", "DELETE"), 401}, {"POST", "/docs", header("X_HTTP_Method_Override", "DELETE"), 401}, {"POST", "/docs", header("X.HTTP-Method", "DELETE"), 401}, {"POST", "/docs", header("X-HTTP-Method-Override", "PUT"), 200},
		{"POST", "/docs", header("X-HTTP-Method-Override", "PROPFIND"), 401}, {"POST", "/docs", header("X-HTTP-Method-Override", "PROPFIND", "Depth", "1"), 200},
		// One framework takes the first of many, and trims it; another one takes any sign for a dash.
		{"POST", "/docs", header("X-HTTP-Method-Override", "DELETE, PUT"), 401}, {"POST", "/docs", header("X-HTTP-Method-Override", "PUT,delete"), 401}, {"POST", "/docs", header("X-HTTP-Method-Override", "\u00A0DELETE;"), 401}, {"POST", "/docs", header("X.HTTP.Method.Override", "DELETE"), 401},
		{"POST", "/docs", header("X-HTTP-Method-Override", "PATCH"), 200}, {"POST", "/docs", header("X-HTTP-Method-Override", "PROPFIND, X", "Depth", "0"), 200},
		{"POST", "/docs?_method=DELETE", header(), 401}, {"GET", "/docs?a&_method=delete", header(), 401}, {"POST", "/docs?a=b;%5Fmethod=%44ELETE", header(), 401}, {"POST", "/docs?.method=DELETE", header(), 401}, {"POST", "/docs?+_METHOD[]=DELETE", header(), 401}, {"POST", "/docs?x-http-method-override=DELETE", header(), 401}, {"POST", "/docs?$httpMethod=DELETE,", header(), 401},
		{"POST", "/docs?http_method_override=DELETE", header(), 401}, {"POST", "/docs?x-tunneled-method=DELETE", header(), 401}, {"POST", "/docs?X-Method=DELETE", header(), 401}, {"GET", "/docs?search_method=DELETE", header(), 200},
		// PHP leaves out spaces before a name, and all from a NUL on; it and others leave a broken escape as it is.
		{"POST", "/docs?" + strings.Repeat("%20", 40) + "_method=DELETE", header(), 401}, {"POST", "/docs?_method%00x=DELETE", header(), 401}, {"POST", "/docs?_method=%44ELETE,%zz", header(), 401}, {"POST", "/docs?" + strings.Repeat("x", 60000) + "=DELETE", header(), 200},
		{"POST", "/docs?_method=PUT", header(), 200}, {"GET", "/?q=delete+method&m=DELETE", header(), 200}, {"GET", "/?method=photos.delete", header(), 200}, {"GET", "/docs?_method", header(), 200}, {"GET", "/docs?a=_method=DELETE", header(), 200},
		// The body says how deep a search is, and a lock is of the whole folder or of nothing in it.
		{"SEARCH", "/docs", header("Depth", "0"), 401}, {"LOCK", "/docs", header("Depth", "1"), 401}, {"LOCK", "/docs", header("Depth", "0"), 200}, {"UPDATE", "/docs", header("Depth", "infinity"), 401}, {"UPDATE", "/docs", header(), 200}, {"LABEL", "/docs", header("Depth", "infinity"), 401}, {"UNBIND", "/docs", header(), 401}, {"REBIND", "/docs", header(), 401},
		{"PROPFIND", "/", header("Depth", "1,noroot"), 200}, {"PROPFIND", "/", header("Depth", "0"), 200}, {"PROPFIND", "/docs", header("Depth", "1"), 200},
		{"COPY", "/docs/public", to("/x"), 200}, {"MOVE", "/x", to("/docs/public"), 200}, {"DELETE", "/docs/privat", header(), 200}, {"DELETE", "/docs/public", header(), 200},
		{"GET", "/docs", header(), 200}, {"PUT", "/docs", header(), 200}, {"POST", "/", header(), 200}, {"REPORT", "/docs", header(), 200}, {"REPORT", "/docs", header("Depth", "infinity"), 401}, {"SEARCH", "/", header(), 401}, {"LOCK", "/docs", header(), 401},
	} {
		x.want(c.method+" "+c.path, x.do(c.method, c.path, nil, c.change), c.status)
		x.want(c.method+" "+c.path+", signed in", x.do(c.method, c.path, nil, c.change, basic("ada", "wind")), 200)
	}
}
