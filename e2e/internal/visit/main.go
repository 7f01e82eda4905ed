// Visit is a visitor of a public name, for the stories. It goes to a relay at a
// given address whatever the name, checks certificates against a given root,
// says how connections ended, and can behave as no good client would.
//
//	visit get [flags] URL         one HTTP request
//	visit raw [flags] NAME TEXT   bytes over TLS, and how it ended
//	visit hello [flags] NAME      a ClientHello of any shape, and the answer
//	visit websocket URL           messages of several sizes, echoed
//	visit events URL              an event stream that nothing holds back
//	visit steady URL              one request after the other, until SIGTERM
//	visit mutated [flags] FOLDER  hellos with mistakes in them, made of those in the folder e2e
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// limit bounds a visit: the stories wait for it, and never for ever.
const limit = 90 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "visit:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("what?")
	}
	v := &visitor{flags: flag.NewFlagSet(args[0], flag.ContinueOnError)}
	v.flags.StringVar(&v.via, "via", os.Getenv("VISIT_VIA"), "`HOST:PORT` that every name leads to")
	v.flags.StringVar(&v.from, "from", "", "the visitor's own `ADDRESS`")
	v.flags.StringVar(&v.root, "root", os.Getenv("VISIT_ROOT"), "PEM `FILE` of the root to trust")
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	verbs := map[string]func(context.Context, []string) error{
		"get": v.get, "raw": v.raw, "hello": v.hello, "websocket": v.websocket, "events": v.events, "steady": v.steady,
		"mutated": v.mutated,
	}
	do := verbs[args[0]]
	if do == nil {
		return fmt.Errorf("no such verb: %s", args[0])
	}
	return do(ctx, args[1:])
}

// A visitor knows the way to the relay.
type visitor struct {
	flags           *flag.FlagSet
	via, from, root string
}

// parse reads the flags and returns the n arguments that must follow them.
func (v *visitor) parse(args []string, n int) ([]string, error) {
	if err := v.flags.Parse(args); err != nil {
		return nil, err
	}
	if v.flags.NArg() != n {
		return nil, fmt.Errorf("%s takes %d arguments, not %d", v.flags.Name(), n, v.flags.NArg())
	}
	return v.flags.Args(), nil
}

// dial connects to the relay.
func (v *visitor) dial(ctx context.Context) (*net.TCPConn, error) {
	d := net.Dialer{}
	if v.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(v.from)}
	}
	c, err := d.DialContext(ctx, "tcp", v.via)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// tls returns a configuration that trusts the root alone.
func (v *visitor) tls() (*tls.Config, error) {
	pem, err := os.ReadFile(v.root)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", v.root)
	}
	return &tls.Config{RootCAs: pool}, nil
}

// end says how a connection ended, from the error of its last Read.
func end(err error) string {
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return "eof"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "eof without close_notify"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	}
	return err.Error()
}
