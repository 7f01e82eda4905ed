package remote_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"

	"keystay/framing"
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

// A program that ends the visitors' TLS in its own way, and gets their addresses
// and the public name from the stream. CloseWrite and Reset of the stream end a
// direction, or all of it, as they do on a TCP connection.
func ExampleConfig_raw() {
	var own *tls.Config // with the program's own certificate
	run := func() error {
		ln, err := remote.Listen(remote.Config{Domain: "xyz.relay.net", StateDir: "state", Raw: true})
		if err != nil {
			return err
		}
		defer ln.Close()
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			stream := c.(*framing.Stream)
			log.Print(stream.RemoteAddr(), " visits ", stream.Header().Name)
			go func() {
				defer stream.Close()
				tc := tls.Server(stream, own)
				io.WriteString(tc, "hello from the device\n")
				tc.Close()
			}()
		}
	}
	_ = run // needs a relay
}

// A program with two names on one device. It hears what becomes of them, and adds one
// while it runs.
func ExampleDevice() {
	run := func(handler http.Handler) error {
		d, err := remote.Open(remote.DeviceConfig{StateDir: "state", Relays: []string{"relay.net"}, Events: func(e remote.Event) {
			log.Print(e.Name, " ", e.Kind, " ", e.Relay)
		}})
		if err != nil {
			return err
		}
		defer d.Close()
		list, err := d.Listen(remote.Name{Domain: "xyz.relay.net"})
		if err != nil {
			return err
		}
		go http.Serve(list[0], handler)
		more, err := d.Listen(remote.Name{Word: "blog"}) // made from the device's key
		if err != nil {
			return err
		}
		return http.Serve(more[0], handler)
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
