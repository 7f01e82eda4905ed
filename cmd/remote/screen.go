package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"keystay/internal/cli"
	"keystay/internal/plain"
)

// A start is what is told once the name answers.
type start struct {
	url, local string
	cert       *x509.Certificate // nil where it is not known
	brought    bool              // the certificate is from files
	passed     bool              // the service ends visitors' TLS, and has the key
	port       bool              // it is a TCP port
	outside    string            // what the watch has found
	service    error             // why the local service cannot be reached, nil where it can
	stateDir   string
}

// isTerminal reports whether a person is likely to read this.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// show says that a name answers: on a terminal a screen for a person, once all do that
// are waited for, elsewhere exactly one line for a program. The caller has locked p.
func (p *process) show(s start) {
	if !isTerminal(p.out) {
		fmt.Fprintln(p.out, plain.Text(s.line()))
		return
	}
	if p.complete {
		fmt.Fprintln(p.out, plain.Text("  "+s.line()))
		return
	}
	p.shown = append(p.shown, s)
	p.showAll()
}

// line says where the name leads. Of a TCP port it says who can read along.
func (s start) line() string {
	text := s.url + " -> " + s.local
	if s.port {
		text += " (not encrypted here: the relay sees these bytes)"
	}
	return text
}

// showAll shows the screen where no name is missing any more that is waited for. The
// caller has locked p.
func (p *process) showAll() {
	if len(p.shown) > 0 && len(p.missing()) == 0 {
		writeStart(p.out, cli.Width(p.out), p.shown)
		p.shown, p.complete = nil, true
	}
}

// narrow is the width, in columns, below which names stand above what is said.
const narrow = 60

// writeStart writes the screen of all names that answer for a terminal of that width.
func writeStart(w io.Writer, width int, all []start) {
	var names []start
	for _, s := range all {
		if !s.port {
			names = append(names, s)
		}
	}
	of := func(say func([]start) string) string {
		if len(names) == 0 {
			return ""
		}
		return say(names)
	}
	rows := [][2]string{
		{"Key", of(keys)},
		{"Certificate", of(certificates)},
		{"Service", reached(all)},
		{"From outside", of(outside)},
		{"The name", of(func(names []start) string { return names[0].name() })},
		{"TCP ports", ports(all)},
		{"To stop", "Ctrl-C"},
	}
	const margin, gap = "  ", "  "
	label := 0
	for _, r := range rows {
		label = max(label, len(r[0]))
	}
	var b strings.Builder
	b.WriteByte('\n')
	for _, s := range all {
		cli.Wrap(&b, width, "", margin, s.line())
	}
	b.WriteByte('\n')
	for _, r := range rows {
		switch {
		case r[1] == "":
		case width < narrow:
			fmt.Fprintf(&b, "%s%s\n", margin, r[0])
			cli.Wrap(&b, width, margin+margin, margin+margin, r[1])
		default:
			first := margin + r[0] + strings.Repeat(" ", label-len(r[0])) + gap
			cli.Wrap(&b, width, first, strings.Repeat(" ", utf8.RuneCountInString(first)), r[1])
		}
	}
	b.WriteByte('\n')
	_, _ = io.WriteString(w, b.String())
}

// ports says what TCP ports are, where there are some: who can read along, and whose they
// are.
func ports(all []start) string {
	i := slices.IndexFunc(all, func(s start) bool { return s.port })
	if i < 0 {
		return ""
	}
	return portText + ". " + all[i].portName()
}

// portText says who can read what goes over a TCP port.
const portText = "not encrypted by keystay: the relay, and everybody on the way, can read what the protocol does not encrypt by itself, as SSH does"

// portName says whose a TCP port is, and who finds it.
func (s start) portName() string {
	return "It stays with this device: its identity is in " + s.stateDir + ". Whoever looks for open ports will find it"
}

// keys says who holds the keys that visitors see.
func keys(all []start) string {
	const own, services = "on this device only; the relay passes encrypted bytes on", "the local service's own; the relay and this program pass encrypted bytes on"
	passed := slices.ContainsFunc(all, func(s start) bool { return s.passed })
	ended := slices.ContainsFunc(all, func(s start) bool { return !s.passed })
	switch {
	case passed && ended:
		return own + ". Behind tls:// it is the local service's"
	case passed:
		return services
	}
	return own
}

// certificates says until when the certificate is valid that ends first.
func certificates(all []start) string {
	first, known := all[0], 0
	for _, s := range all {
		if s.cert != nil {
			known++
		}
		if first.cert == nil || s.cert != nil && s.cert.NotAfter.Before(first.cert.NotAfter) {
			first = s
		}
	}
	if known < 2 {
		return first.certificate()
	}
	return fmt.Sprintf("%d of them; the first is %s", known, first.certificate())
}

// outside says what the watch has found: of each name where that differs.
func outside(all []start) string {
	parts := []string{all[0].outside}
	for _, s := range all[1:] {
		if s.outside != all[0].outside {
			parts = parts[:0]
			break
		}
	}
	if len(parts) > 0 {
		return parts[0]
	}
	for _, s := range all {
		parts = append(parts, strings.TrimPrefix(s.url, "https://")+": "+s.outside)
	}
	return strings.Join(parts, ". ")
}

// reached says which services cannot be reached.
func reached(all []start) string {
	var away []string
	for _, s := range all {
		if s.service != nil && len(all) > 1 {
			away = append(away, s.local+": "+s.service.Error())
		} else if s.service != nil {
			away = append(away, s.service.Error())
		}
	}
	if len(away) == 0 {
		return "can be reached"
	}
	return "cannot be reached yet: " + strings.Join(away, "; ")
}

// certificate says until when it is valid and who has issued it.
func (s start) certificate() string {
	if s.cert == nil {
		return ""
	}
	from := s.cert.Issuer.CommonName
	if o := s.cert.Issuer.Organization; len(o) > 0 {
		from = o[0]
	}
	text := "valid until " + s.cert.NotAfter.Local().Format("2 January 2006") + ", from " + cmp.Or(from, "an unnamed CA")
	if s.brought {
		return text + "; its files are read again when they change"
	}
	return text + "; renewed by itself"
}

// name says whose it is, and who knows it.
func (s start) name() string {
	text := "stays with this device: its identity is in " + s.stateDir + ". "
	if s.brought || s.passed {
		return text + "It is public if a public CA has issued the certificate"
	}
	return text + "It is public from now on, in the logs of certificate transparency, and bots will find it"
}
