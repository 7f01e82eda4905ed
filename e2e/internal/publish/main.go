// Publish serves a public name with keystay as a library, for the stories:
// configured by the same environment as the remote, without a local service.
//
//	publish http DOMAIN    http.Serve on the listener
//	publish echo DOMAIN    every byte back, and the end after the end
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"keystay/acme"
	"keystay/remote"
)

// drainTimeout is how long visitors may finish after SIGTERM.
const drainTimeout = 30 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "publish:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("expected: publish http|echo DOMAIN")
	}
	serve := serveHTTP
	if args[0] == "echo" {
		serve = serveEcho
	}
	ln, err := listen(args[1])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := ln.Wait(ctx); err != nil {
		return err
	}
	fmt.Println(ln.URL())
	return serve(ctx, ln)
}

func listen(domain string) (*remote.Listener, error) {
	relayRoots, err := roots("KEYSTAY_REMOTE_RELAY_ROOT")
	if err != nil {
		return nil, err
	}
	caRoots, err := roots("KEYSTAY_REMOTE_ACME_ROOT")
	if err != nil {
		return nil, err
	}
	return remote.Listen(remote.Config{
		Domain:         domain,
		RelayAddresses: []string{os.Getenv("KEYSTAY_REMOTE_RELAY_ADDRESS")},
		RelayRoots:     relayRoots,
		StateDir:       os.Getenv("KEYSTAY_REMOTE_STATE_DIR"),
		ACME:           acme.Config{CA: os.Getenv("KEYSTAY_REMOTE_ACME_CA"), Roots: caRoots},
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// roots reads the PEM file that a variable names.
func roots(variable string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(os.Getenv(variable))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool, nil
}

// serveHTTP answers until ctx ends, and lets open requests finish.
func serveHTTP(ctx context.Context, ln *remote.Listener) error {
	held := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "served by the library over %s\n", r.Proto)
	})
	// A request that ends only after the shutdown has begun.
	mux.HandleFunc("GET /hold", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(os.Stderr, "holding")
		<-held
		fmt.Fprintln(w, "the held answer is whole")
	})
	srv := &http.Server{Handler: mux}
	srv.RegisterOnShutdown(func() { close(held) })
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		return err
	}
	return ln.Shutdown(end)
}

// serveEcho sends every byte back until ctx ends.
func serveEcho(ctx context.Context, ln *remote.Listener) error {
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			end, cancel := context.WithTimeout(context.Background(), drainTimeout)
			defer cancel()
			return ln.Shutdown(end)
		}
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer c.Close()
			n, err := io.Copy(c, c)
			if err == nil {
				// The visitor has ended its side; that it is told apart from a
				// broken connection is what the story looks at.
				fmt.Fprintf(c, "\nthat was %d bytes\n", n)
				fmt.Fprintln(os.Stderr, "echoed to the end")
				return
			}
			fmt.Fprintln(os.Stderr, "echo broken:", err)
		})
	}
}
