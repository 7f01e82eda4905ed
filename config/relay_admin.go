package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unicode/utf8"

	"keystay/internal/ownfile"
	"keystay/internal/signin"
)

// maxUsersFile is how many bytes of a file of users are read.
const maxUsersFile = 4 << 20

// adminHosts checks and normalises the names by which the admin address may be asked.
func (r *relayReader) adminHosts() {
	a := &r.relay.Admin
	if len(a.Hosts) == 0 {
		a.Hosts = nil
		return
	}
	if n := len(a.Hosts); n > MaxAdminHosts {
		r.errs.add("admin.hosts", fmt.Sprintf("%d names, at most %d", n, MaxAdminHosts))
	}
	a.Hosts = trimmed(a.Hosts)
	for i := range a.Hosts {
		r.errs.domain(fmt.Sprintf("admin.hosts[%d]", i), &a.Hosts[i])
	}
}

// pages reads the files of the pages that a relay has: who may sign in on the
// operator's, and the operator's words on its own.
func (r *relayReader) pages() {
	r.src.resolve("admin.password_file", &r.relay.Admin.PasswordFile)
	r.src.resolve("site.words_file", &r.relay.Site.WordsFile)
	if r.relay.Admin.PasswordFile != "" {
		text, public, err := r.errs.wholeFile("admin.password_file", r.relay.Admin.PasswordFile, maxUsersFile)
		if err == nil {
			if r.relay.Admin.Users, err = signin.Parse(text); err != nil {
				r.errs.add("admin.password_file", fmt.Sprintf("%s: %v", quote(r.relay.Admin.PasswordFile), err), "htpasswd -nB -C 10 NAME asks for a password and prints the line for it, and so does remote password NAME")
			}
		}
		if public {
			r.warnings = append(r.warnings, openFile("admin.password_file", r.relay.Admin.PasswordFile, "hashes of passwords"))
		}
	}
	if r.relay.Site.WordsFile != "" {
		text, _, err := r.errs.wholeFile("site.words_file", r.relay.Site.WordsFile, MaxWords)
		switch {
		case err != nil:
		case !utf8.Valid(text):
			r.errs.add("site.words_file", quote(r.relay.Site.WordsFile)+" is not text in UTF-8", "plain text, with an empty line between paragraphs")
		default:
			r.relay.Site.Words = string(text)
		}
	}
}

// wholeFile reads a file of up to limit bytes, and reports whether every user of the
// machine may read it.
func (e *Errors) wholeFile(key, name string, limit int64) (text []byte, public bool, err error) {
	e.readable(key, name)
	if len(*e) > 0 && (*e)[len(*e)-1].Key == key {
		return nil, false, errors.New("it was told")
	}
	text, info, err := ownfile.Load(name, limit+1)
	if err == nil {
		public = ownfile.IsOpen(info)
	}
	switch {
	case err != nil:
		e.add(key, fmt.Sprintf("cannot read %s: %v", quote(name), reason(err)), unreadable(name, err)...)
	case int64(len(text)) > limit:
		err = errors.New("too long")
		e.add(key, fmt.Sprintf("%s is longer than %d KiB", quote(name), limit>>10))
	}
	return ownfile.Text(text), public, err
}

// unwiseAdmin returns what is seldom meant of the operator's address.
func unwiseAdmin(a Admin) (warnings []Warning) {
	const elsewhere = `admin: {listen: "127.0.0.1:9440"} is for this machine alone; from elsewhere, reach it by ssh -L or a private network`
	who := reachedBy(a.Listen)
	switch {
	case who == "":
	case a.PasswordFile == "":
		warnings = append(warnings, Warning{Key: "admin.listen", Message: fmt.Sprintf("%s is open to %s: it asks nobody who they are", quote(a.Listen), who),
			Hints: []string{elsewhere}})
	default:
		warnings = append(warnings, Warning{Key: "admin.listen", Message: fmt.Sprintf("%s is open to %s: metrics are told to anybody, and passwords for the page come without TLS", quote(a.Listen), who),
			Hints: []string{elsewhere}})
	}
	return warnings
}

// profiles checks that only this machine can take profiles.
func (r *relayReader) profiles() {
	a := r.relay.Admin
	host, _, err := net.SplitHostPort(a.Listen)
	if !a.Pprof || a.Listen == "" || err != nil {
		return
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
		r.errs.add("admin.pprof", "others than this machine could take profiles at "+quote(a.Listen), `admin: {listen: "127.0.0.1:9440", pprof: true}; from elsewhere, reach it by ssh -L`)
	}
}
