package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"keystay/internal/plain"
)

// readyGrace is how long the service manager waits for the first certificate.
// systemd gives a start 90 seconds (DefaultTimeoutStartSec), and a relay whose CA
// is away goes on trying for longer.
const readyGrace = time.Minute

// announce says where the relay is, once it has a certificate: only then can
// remotes come in. The service manager hears it too.
func (p *process) announce(ctx context.Context) {
	if p.takeover == nil && p.cert.ready() != nil {
		if p.cert.files != nil { // of which judge has told
			p.log.Info("not ready: remotes and browsers can come once the certificate is replaced", "name", p.cfg.Domain)
		} else {
			p.log.Info("no certificate yet: remotes and browsers can come once it is there", "name", p.cfg.Domain)
		}
		p.notify("STATUS=No certificate for " + p.cfg.Domain + " yet")
		late := time.AfterFunc(readyGrace, func() { p.notify("READY=1") })
		defer late.Stop()
	}
	cert, err := p.cert.wait(ctx)
	if err != nil {
		if ctx.Err() == nil && p.takeover == nil { // a new process asks for the certificate, and may not get so far
			p.notify("READY=1")
		}
		return
	}
	a := p.about(cert)
	p.log.Info("ready", "at", a.url, "names", a.names, "certificate_until", a.until)
	status := "STATUS=" + a.url + " is ready"
	if p.takeover == nil { // else the old process has told
		status = "READY=1\n" + status
	}
	p.notify(status)
	if term.IsTerminal(int(os.Stdout.Fd())) {
		a.screen(os.Stdout)
	}
}

// An announcement is what is said of a relay that is ready.
type announcement struct {
	url     string // of its page
	names   string // who may take one
	until   string // the day on which the certificate ends
	renewed bool   // by the relay itself
	sockets []socket
	drain   time.Duration // for visitors who are there at the end
}

func (p *process) about(cert *tls.Certificate) announcement {
	a := announcement{
		url:     "https://" + p.cfg.Domain + "/",
		renewed: p.cfg.TLS.CertFile == "",
		sockets: p.sockets,
		drain:   p.cfg.DrainTimeout,
	}
	if port := publicPort(p.sockets); port != 443 {
		a.url = "https://" + net.JoinHostPort(p.cfg.Domain, strconv.Itoa(port)) + "/"
	}
	if cert.Leaf != nil {
		a.until = cert.Leaf.NotAfter.Format(time.DateOnly)
	}
	switch p.cfg.Names.Policy {
	case "token":
		a.names = "whoever has a token may take one below " + p.cfg.Domain
	case "closed":
		a.names = "nobody new may take one below " + p.cfg.Domain + "; those made from a device's key are free"
	default:
		a.names = "anyone may take one below " + p.cfg.Domain
	}
	return a
}

// publicPort is the port of the first public socket, which visitors use.
func publicPort(sockets []socket) int {
	for _, s := range sockets {
		if t, ok := s.ln.Addr().(*net.TCPAddr); ok && s.what == "public" {
			return t.Port
		}
	}
	return 0
}

// screen shows the announcement to a person at a terminal, and nothing in it
// that does not print.
func (a announcement) screen(w io.Writer) {
	renewal := "brought as files"
	if a.renewed {
		renewal = "renewed by itself"
	}
	addrs := make(map[string][]string)
	for _, s := range a.sockets {
		addrs[s.what] = append(addrs[s.what], s.ln.Addr().String())
	}
	fmt.Fprintf(w, "\n%s is ready\n\n", plain.Text(a.url))
	for _, line := range [][2]string{
		{"Names", a.names},
		{"Certificate", "until " + a.until + ", " + renewal},
		{"Visitors", strings.Join(addrs["public"], ", ")},
		{"Plain HTTP", strings.Join(addrs["http"], ", ")},
		{"Metrics", strings.Join(addrs["admin"], ", ")},
		{"To stop", fmt.Sprintf("Ctrl-C: visitors may finish for %v, a second Ctrl-C cuts them off", a.drain)},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-12s  %s\n", line[0], plain.Text(line[1]))
		}
	}
	fmt.Fprintln(w)
}
