package remote_test

import (
	"fmt"
	"log"
	"net/http"
	"net/url"

	"keystay/remote"
	"keystay/remote/publish"
)

// A program that serves a public name by itself.
func ExampleListen() {
	run := func() error {
		ln, err := remote.Listen(remote.Config{Domain: "xyz.relay.net", StateDir: "state"})
		if err != nil {
			return err
		}
		defer ln.Close()
		log.Print("serving ", ln.URL())
		return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "hello from the device,", r.RemoteAddr)
		}))
	}
	_ = run // needs a relay
}

// A program that publishes a local service.
func ExampleListener() {
	run := func() error {
		ln, err := remote.Listen(remote.Config{Domain: "xyz.relay.net", StateDir: "state"})
		if err != nil {
			return err
		}
		defer ln.Close()
		local := &publish.Target{
			URL:       &url.URL{Scheme: "http", Host: "127.0.0.1:3000"},
			Network:   "tcp",
			Addresses: []string{"127.0.0.1:3000"},
		}
		return local.Server(ln.Domain()).Serve(publish.Visitors(ln))
	}
	_ = run // needs a relay
}
