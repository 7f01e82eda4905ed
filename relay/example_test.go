package relay_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"os"
	"os/signal"
	"time"

	"keystay/relay"
	"keystay/relay/names"
)

// A relay on port 443 that gives out names below relay.net, until it is
// interrupted.
func ExampleServer() {
	run := func() error {
		cert, err := tls.LoadX509KeyPair("relay.net.pem", "relay.net.key")
		if err != nil {
			return err
		}
		grants, err := names.OpenGrants("/var/lib/keystay")
		if err != nil {
			return err
		}
		defer grants.Close()
		srv := &relay.Server{
			Domain: "relay.net",
			TLS:    &tls.Config{Certificates: []tls.Certificate{cert}},
			Names:  &names.Names{Grants: grants},
		}
		defer srv.Close()
		ln, err := net.Listen("tcp", ":443")
		if err != nil {
			return err
		}

		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			<-ctx.Done()
			end, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := srv.Shutdown(end); err != nil {
				log.Printf("visitors were cut off: %v", err)
			}
		}()
		err = srv.Serve(ln)
		stop() // also when Serve failed by itself
		<-drained
		if errors.Is(err, relay.ErrServerClosed) {
			return nil
		}
		return err
	}
	_ = run // needs port 443
}
