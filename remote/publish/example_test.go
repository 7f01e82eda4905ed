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
