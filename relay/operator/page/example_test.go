package page_test

import (
	"net/http"
	"os"

	"keystay/internal/signin"
	"keystay/relay"
	"keystay/relay/operator"
	"keystay/relay/operator/page"
)

func ExamplePage() {
	text, err := os.ReadFile("users") // of htpasswd -B
	if err != nil {
		return
	}
	users, err := signin.Parse(text)
	if err != nil {
		panic(err)
	}
	srv := &relay.Server{Domain: "relay.test"}
	p := &page.Page{API: &operator.Server{Relay: srv, Domain: "relay.test"}}
	p.SetUsers(users)
	srv.AdminPage = http.Handler(p) // and p.Run beside it
}
