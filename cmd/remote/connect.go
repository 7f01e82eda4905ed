package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/proxydial"
	"keystay/remote/connect"
)

// forwardDrain is how long the connections to a local port may take to end when the
// program is told to stop.
const forwardDrain = 30 * time.Second

// connectCommand leads stdin and stdout, or a local port, to a name.
func connectCommand() *cobra.Command {
	var f connectFlags
	cmd := &cobra.Command{
		Use:   "connect [-L [ADDR:]PORT] NAME[:PORT]",
		Short: "Reach a public name's service: stdin and stdout, or a local port, as a TLS connection",
		Long: `Opens a TLS connection to a public name, checks its certificate as a browser does,
and passes on what stands inside: from stdin and to stdout, for programs such as ssh
that take a command for that, or with -L for each connection to a local port.

The end of one side is told to the other one, which may go on until it ends too. On a
terminal the end of the name's side ends the command. What breaks a connection is an
error: what had come until then may not be all.

Exit codes: 0 both sides have ended in good order, or with -L it was told to stop; 1 the
name was not reached, its certificate is wrong, or the connection broke; 2 wrong usage.`,
		Example: `  ssh -o ProxyCommand="remote connect %h" user@box.relay.net
  rsync -e 'ssh -o ProxyCommand="remote connect %h"' -a ./photos user@box.relay.net:
  remote connect -L 5432 db.relay.net
  printf 'PING\r\n' | remote connect cache.relay.net --alpn redis`,
		Args: cli.Args("the name, as in box.relay.net:443"),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := f.dialer(c, args[0])
			if err != nil {
				return cli.Usage(err)
			}
			drain, cut, stop := cli.Signals(c.Context())
			defer stop()
			if c.Flags().Changed("local-port") {
				return f.forward(drain, cut, c, d)
			}
			return pass(drain, d, stdio(c))
		},
	}
	config.VerifyFlags(cmd.Flags())
	fs := cmd.Flags()
	fs.StringVarP(&f.listen, "local-port", "L", "", "lead connections to the local `[ADDR:]PORT` to the name; without ADDR to 127.0.0.1, and port 0 is one that is free")
	fs.IntVar(&f.most, "max-connections", connect.DefaultMaxVisitors, "with -L, how `MANY` connections there may be at once; the next one is reset")
	fs.StringVar(&f.root, "root", "", "PEM `FILE` of roots to trust for the name's certificate; by default the system's")
	fs.StringVar(&f.address, "address", "", "dial this `HOST:PORT`, without a proxy; the name is still what is verified")
	fs.StringVar(&f.cert, "cert", "", "PEM `FILE` of a client certificate, shown where the name asks for one")
	fs.StringVar(&f.key, "key", "", "PEM `FILE` of its key")
	fs.StringSliceVar(&f.alpn, "alpn", nil, "offer these application `PROTOCOLS`, the most wanted one first, as in ssh; by default none")
	return cmd
}

// connectFlags are the flags of "remote connect" beside those that it shares.
type connectFlags struct {
	listen, root, address, cert, key string
	alpn                             []string
	most                             int
}

// dialer reads what the flags and the argument say. An error is one of usage.
func (f *connectFlags) dialer(c *cobra.Command, name string) (*connect.Dialer, error) {
	cfg, port, err := config.LoadVerify(c.Flags(), name)
	if err != nil {
		return nil, err
	}
	useDNS(cfg.DNS)
	d := &connect.Dialer{Name: cfg.Domain, Port: port, Address: f.address, Protocols: f.alpn}
	if d.Roots, err = cli.Roots("--root", f.root); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.cert != "" {
		files, err := acme.LoadFiles(f.cert, f.key, "")
		if err != nil {
			return nil, err
		}
		if err := ownfile.Exposed(f.key); err != nil {
			fmt.Fprintln(c.ErrOrStderr(), "remote: "+err.Error())
		}
		if d.Certificate, err = files.GetCertificate(&tls.ClientHelloInfo{}); err != nil {
			return nil, err
		}
	}
	if f.address != "" {
		return d, nil
	}
	choose, err := proxy(string(cfg.Proxy))
	if choose == nil {
		choose = proxydial.FromEnvironment
	}
	d.Dial = dialBy(choose, cfg.DNS)
	return d, err
}

// check looks at the flags that need no file.
func (f *connectFlags) check() error {
	if _, _, err := net.SplitHostPort(f.address); f.address != "" && err != nil {
		return fmt.Errorf("--address: %q is not HOST:PORT, as in 192.0.2.1:443", f.address)
	}
	if (f.cert == "") != (f.key == "") {
		return errors.New("--cert and --key go together")
	}
	for _, p := range f.alpn {
		if p == "" || len(p) > 255 {
			return fmt.Errorf("--alpn: %q is no protocol, which has 1 to 255 bytes", p)
		}
	}
	if f.most < 1 {
		return fmt.Errorf("--max-connections: %d is too few", f.most)
	}
	return nil
}

// localPort is what to listen on for [ADDR:]PORT.
func localPort(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = "", s
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("-L: %q is not [ADDR:]PORT, as in 5432 or 127.0.0.1:5432", s)
	}
	if host == "" { // not all addresses: whoever reaches the port reaches the name
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// forward leads a local port to the name.
func (f *connectFlags) forward(drain, cut context.Context, c *cobra.Command, d *connect.Dialer) error {
	at, err := localPort(f.listen)
	if err != nil {
		return cli.Usage(err)
	}
	ln, err := new(net.ListenConfig).Listen(drain, "tcp", at)
	if err != nil {
		return hint.ConnectPort.Error(fmt.Errorf("-L %s: %w", f.listen, err))
	}
	log := cli.LoggerAt(c.ErrOrStderr(), slog.LevelInfo, "text")
	if isTerminal(os.Stderr) && c.ErrOrStderr() == os.Stderr {
		log = slog.New(newPeople(lines(os.Stderr, func() int { return cli.Width(os.Stderr) })))
	}
	fmt.Fprintf(c.OutOrStdout(), "%v -> %v\n", ln.Addr(), d)
	fw := &connect.Forward{Dialer: d, MaxVisitors: f.most, Failed: func(err error) {
		log.Warn("a connection was reset", "err", err, hint.Attr(hint.All(err)))
	}}
	ctx, cancel := context.WithCancel(cut)
	defer cancel()
	told := context.AfterFunc(drain, func() {
		stop := cli.TellDrain(log, forwardDrain, fw.Visitors)
		timer := time.AfterFunc(forwardDrain, cancel)
		context.AfterFunc(ctx, func() { stop(); timer.Stop() })
	})
	defer told()
	return fw.Serve(drain, ctx, ln)
}

// pass connects local to the name until both sides have ended.
func pass(drain context.Context, d *connect.Dialer, local *stdioConn) error {
	name, err := d.Connect(drain)
	if err != nil {
		return err
	}
	local.begin()
	stop := context.AfterFunc(drain, func() { local.Reset() })
	defer stop()
	if err := d.Copy(local, name); err != nil && drain.Err() != nil {
		return fmt.Errorf("connection to %v: it was told to stop in between", d)
	} else if err != nil {
		return err
	}
	return nil
}

// stdio is what a command reads and writes.
func stdio(c *cobra.Command) *stdioConn {
	return &stdioConn{in: c.InOrStdin(), out: c.OutOrStdout(), person: c.InOrStdin() == os.Stdin && isTerminal(os.Stdin)}
}

// A stdioConn is stdin and stdout as one connection. A read of stdin cannot be ended: the
// goroutine that does it stays until there is something to read, or the program ends.
type stdioConn struct {
	net.Conn // nil: it has no addresses and no deadlines
	in       io.Reader
	out      io.Writer
	person   bool // at a terminal, whose end would have to be typed

	read  *io.PipeReader
	write *io.PipeWriter
}

// begin begins to read stdin.
func (s *stdioConn) begin() {
	s.read, s.write = io.Pipe()
	go func() {
		_, err := io.Copy(s.write, s.in)
		s.write.CloseWithError(err)
	}()
}

func (s *stdioConn) Read(p []byte) (int, error)  { return s.read.Read(p) }
func (s *stdioConn) Write(p []byte) (int, error) { return s.out.Write(p) }

// CloseWrite ends stdout. At a terminal that is the end of all.
func (s *stdioConn) CloseWrite() error {
	if s.person {
		s.write.Close()
	}
	if f, ok := s.out.(*os.File); ok {
		return f.Close()
	}
	return nil
}

// Close makes a read that waits for stdin end.
func (s *stdioConn) Close() error { return s.read.Close() }

// Reset makes a read that waits for stdin fail.
func (s *stdioConn) Reset() { s.write.CloseWithError(net.ErrClosed) }

var _ interface{ CloseWrite() error } = (*stdioConn)(nil)
