package browser_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"keystay/e2e/internal/browser"
)

// A page that a remote publishes, looked at with Chromium.
func Example() {
	var site browser.Site
	go http.ListenAndServe("127.0.0.1:3000", &site) // what the remote forwards to

	root, err := os.ReadFile("root.pem") // of the CA that the remote's certificate is from
	if err != nil {
		log.Fatal(err)
	}
	b, err := browser.Find(browser.Chromium)
	if err != nil {
		log.Fatal(err) // names what to install
	}
	b.CA = root
	b.Hosts = []string{"xyz.relay.test"}
	if err := b.Screenshot(context.Background(), "https://xyz.relay.test:8443/", "page.png"); err != nil {
		log.Fatal(err)
	}
	select {
	case report := <-site.Reports():
		fmt.Println(report.Protocol, report.Err())
	default:
		fmt.Println("the page did not run; see page.png")
	}
}
