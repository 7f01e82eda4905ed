package publish_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"keystay/remote/publish"
)

// A local service answers as xyz.relay.net, in any HTTP server.
func ExampleTarget_Handler() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Host, "for", r.Header.Get("X-Forwarded-For"))
	}))
	defer service.Close()
	u, _ := url.Parse(service.URL)
	local := &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}

	request := httptest.NewRequest("GET", "https://xyz.relay.net/", nil)
	request.RemoteAddr = "8.8.4.4:4711"
	answer := httptest.NewRecorder()
	local.Handler("xyz.relay.net").ServeHTTP(answer, request)
	fmt.Print(answer.Body)
	// Output: xyz.relay.net for 8.8.4.4
}

// One name with a service of its own below /api/, which does not know that prefix, and
// a text for all else. The routes change while visitors are there.
func ExampleSite() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "the service gets", r.URL.Path, "below", r.Header.Get("X-Forwarded-Prefix"))
	}))
	defer service.Close()
	u, _ := url.Parse(service.URL)
	api := publish.Route{Path: "/api/", Strip: true, Target: &publish.Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}}
	site := publish.NewSite("xyz.relay.net", publish.SiteConfig{
		Routes: []publish.Route{api, {Path: "/", Handler: publish.Text("hello\n")}},
	})
	ask := func(path string) {
		answer := httptest.NewRecorder()
		site.ServeHTTP(answer, httptest.NewRequest("GET", "https://xyz.relay.net"+path, nil))
		fmt.Print(answer.Body)
	}
	ask("/api/users")
	ask("/")

	site.Set(publish.SiteConfig{Routes: []publish.Route{api, {Path: "/", Handler: publish.Text("hello again\n")}}})
	ask("/")
	// Output:
	// the service gets /users below /api
	// hello
	// hello again
}

// A handler in front of the routes sees each request first.
func ExampleSiteConfig_gate() {
	site := publish.NewSite("xyz.relay.net", publish.SiteConfig{
		Routes: []publish.Route{{Path: "/", Handler: publish.Text("a secret")}},
		Gate: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, password, _ := r.BasicAuth(); password != "open sesame" {
					w.Header().Set("WWW-Authenticate", "Basic")
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		},
	})
	for _, password := range []string{"guess", "open sesame"} {
		request := httptest.NewRequest("GET", "https://xyz.relay.net/", nil)
		request.SetBasicAuth("ali", password)
		answer := httptest.NewRecorder()
		site.ServeHTTP(answer, request)
		fmt.Printf("%d %q\n", answer.Code, answer.Body)
	}
	// Output:
	// 401 ""
	// 200 "a secret"
}

func ExampleRedirect() {
	elsewhere, _ := url.Parse("https://example.com")
	answer := httptest.NewRecorder()
	publish.Redirect(elsewhere).ServeHTTP(answer, httptest.NewRequest("GET", "/page?q=1", nil))
	fmt.Println(answer.Code, answer.Header().Get("Location"))
	// Output: 302 https://example.com/page?q=1
}

func ExampleText() {
	answer := httptest.NewRecorder()
	publish.Text("back at noon").ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Length"), answer.Body)
	// Output: 200 12 back at noon
}
