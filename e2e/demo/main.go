// Demo runs keystay on one machine, with nothing from outside: an ACME server,
// a relay, a remote and a small local site, all on loopback. It fetches a page
// through them with the certificate checked, and shows what happened.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"keystay/e2e/internal/pebble"
)

const (
	relayName = "relay.localhost"
	name      = "xyz.relay.localhost" // browsers take *.localhost for this machine
)

func main() {
	bin := flag.String("bin", "bin", "folder of the two programs")
	once := flag.Bool("once", false, "end after the first page")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := demo(ctx, *bin, *once)
	switch {
	case ctx.Err() != nil:
		step("ended: both programs have stopped, and what they wrote is removed")
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// step says what happens now.
func step(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }

func demo(ctx context.Context, bin string, once bool) error {
	dir, err := os.MkdirTemp("", "keystay-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	step("an ACME server (Pebble, in the place of Let's Encrypt)")
	ca, err := pebble.Start(pebble.Options{})
	if err != nil {
		return err
	}
	defer ca.Close()
	apiRoot, err := ca.APIRootFile(dir)
	if err != nil {
		return err
	}
	issuer, err := ca.IssuerFile(dir)
	if err != nil {
		return err
	}
	fmt.Println("   " + ca.DirectoryURL())

	step("a local site that knows nothing of TLS")
	site, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer site.Close()
	go http.Serve(site, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello from the device. You are %s, you asked for %s://%s%s\n",
			r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), r.Host, r.URL.Path)
	}))
	fmt.Println("   http://" + site.Addr().String())

	step("the relay: one public port, a certificate for its own name alone")
	relay, err := startRelay(ctx, bin, dir, ca, apiRoot)
	if err != nil {
		return err
	}
	defer relay.stop()

	step("the remote, on the device")
	remote, line, err := startRemote(ctx, bin, dir, ca, apiRoot, issuer, relay.addrs["public"], site.Addr().String())
	if err != nil {
		return err
	}
	defer remote.stop()

	step("a visitor opens the page; its TLS ends at the device, the certificate is checked")
	url, _, _ := strings.Cut(line, " -> ")
	if err := visit(ctx, url, relay.addrs["public"], ca.IssuerPool()); err != nil {
		return err
	}
	if once {
		step("done: the page came through the relay with its certificate verified")
		return nil
	}
	step("all of it stays open until Ctrl-C. Try:")
	_, port, _ := net.SplitHostPort(relay.addrs["public"])
	fmt.Printf("   curl --cacert %s --resolve %s:%s:127.0.0.1 %s/\n", issuer, name, port, url)
	fmt.Printf("   curl --cacert %s --resolve %s:%s:127.0.0.1 https://%s:%s/\n", issuer, relayName, port, relayName, port)
	fmt.Printf("   a browser at %s (it warns: it does not know this test CA)\n", url)
	fmt.Printf("   %s status --state-dir %s\n", filepath.Join(bin, "relay"), filepath.Join(dir, "relay"))
	fmt.Printf("   %s names show %s --state-dir %s\n", filepath.Join(bin, "relay"), name, filepath.Join(dir, "relay"))
	<-ctx.Done()
	return nil
}

func startRelay(ctx context.Context, bin, dir string, ca *pebble.Server, apiRoot string) (*process, error) {
	config, token := filepath.Join(dir, "relay.yaml"), filepath.Join(dir, "token")
	text := fmt.Sprintf(`domain: %s
listen: ["127.0.0.1:0"]
http_listen: ["127.0.0.1:0"]
state_dir: %s
names: {policy: token}
tokens: [{secret_file: %q, names: ["*.%s"]}]
acme: {ca: %q, ca_root: %q}
admin: {listen: "127.0.0.1:0"}
`, relayName, filepath.Join(dir, "relay"), token, relayName, ca.DirectoryURL(), apiRoot)
	if err := os.WriteFile(token, []byte(rand.Text()+"\n"), 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := start(ctx, filepath.Join(bin, "relay"), "--config", config)
	if err != nil {
		return nil, err
	}
	if err := p.listening("public", "http"); err != nil {
		p.stop()
		return nil, err
	}
	ca.SetTLSTarget(p.addrs["public"])
	ca.SetHTTPTarget(p.addrs["http"])
	select {
	case <-p.ready:
		return p, nil
	case <-p.done:
		return nil, errors.New("the relay ended before it was ready")
	case <-ctx.Done():
		p.stop()
		return nil, ctx.Err()
	}
}

func startRemote(ctx context.Context, bin, dir string, ca *pebble.Server, apiRoot, issuer, public, site string) (*process, string, error) {
	p, err := start(ctx, filepath.Join(bin, "remote"),
		"--domain", name, "--local", site, "--token-file", filepath.Join(dir, "token"), "--trust-private-addresses",
		"--relay-address", public, "--relay-root", issuer,
		"--acme-ca", ca.DirectoryURL(), "--acme-root", apiRoot,
		"--acme-rehearsal", "off", "--probe", "off", // no DNS has the name
		"--state-dir", filepath.Join(dir, "device"), "--wait", "90s", "--proxy", "none")
	if err != nil {
		return nil, "", err
	}
	select {
	case line, ok := <-p.stdout:
		if !ok {
			p.stop()
			return nil, "", fmt.Errorf("the remote ended before its name answered")
		}
		return p, line, nil
	case <-ctx.Done():
		p.stop()
		return nil, "", ctx.Err()
	}
}

// visit fetches url from the relay's public address.
func visit(ctx context.Context, url, public string, roots *x509.CertPool) error {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, public)
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/", nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return err
	}
	leaf := resp.TLS.PeerCertificates[0]
	fmt.Printf("   GET %s/\n   %s %s over %s\n   certificate for %s, from %s, until %s: verified\n   %s",
		url, resp.Proto, resp.Status, tls.VersionName(resp.TLS.Version), strings.Join(leaf.DNSNames, ", "),
		leaf.Issuer.CommonName, leaf.NotAfter.Format(time.DateOnly), body)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", resp.Status)
	}
	return nil
}

// A process is one of the two programs, running.
type process struct {
	cmd    *exec.Cmd
	addrs  map[string]string // of its sockets, by what they are for
	seen   chan [2]string
	ready  chan struct{} // closed when the relay says that it is ready
	stdout chan string
	done   chan struct{}
}

// start runs a program. Its log is shown, indented.
func start(ctx context.Context, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), addrs: make(map[string]string),
		seen: make(chan [2]string, 8), ready: make(chan struct{}), stdout: make(chan string, 8), done: make(chan struct{})}
	apart(p.cmd)
	program := filepath.Base(path)
	fmt.Println("   " + filepath.Base(path) + " " + strings.Join(args, " "))
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w (run it by make demo, which builds the programs first)", err)
	}
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			fmt.Printf("   %-6s | %s\n", program, s.Text())
			p.note(s.Text())
		}
	}()
	go func() {
		defer close(p.stdout)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			fmt.Printf("   %-6s > %s\n", program, s.Text())
			p.stdout <- s.Text()
		}
		<-logged
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// note finds out from the log where a socket is, and that the relay is ready.
func (p *process) note(line string) {
	if strings.Contains(line, "msg=ready ") {
		close(p.ready)
		return
	}
	_, line, ok := strings.Cut(line, "msg=listening ")
	if !ok {
		return
	}
	var found [2]string
	for _, field := range strings.Fields(line) {
		if v, ok := strings.CutPrefix(field, "for="); ok {
			found[0] = v
		} else if v, ok := strings.CutPrefix(field, "addr="); ok {
			found[1] = v
		}
	}
	p.seen <- found
}

// listening waits until the sockets are open.
func (p *process) listening(what ...string) error {
	for _, w := range what {
		for p.addrs[w] == "" {
			select {
			case f := <-p.seen:
				p.addrs[f[0]] = f[1]
			case <-p.done:
				return fmt.Errorf("%s ended at its start", filepath.Base(p.cmd.Path))
			}
		}
	}
	return nil
}

// stop ends the program in good order.
func (p *process) stop() {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}
