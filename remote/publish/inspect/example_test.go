package inspect_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"

	"keystay/remote/publish/inspect"
)

// An inspector stands before whatever answers, and has a page of its own.
func Example() {
	in := new(inspect.Inspector)
	site := in.Wrap("xyz.relay.net", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer in.Add("xyz.relay.net", site)()

	page, err := inspect.Start("127.0.0.1:0", in)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer page.Close()

	site.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/greeting", nil))

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(page.URL() + "api/exchanges")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(string(regexp.MustCompile(`"target":"[^"]*"`).Find(b)))
	// Output: "target":"/greeting"
}
