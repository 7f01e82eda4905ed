package config

import (
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"keystay/internal/fields"
	"keystay/internal/hostname"
)

// serviceNames reads the names of a service.
func (r *serviceReader) serviceNames(b block, s *Service, relays []string) {
	for _, pair := range [][2]string{{"domain", "domains"}, {"name", "names"}} {
		key := pair[0]
		if b.has(pair[1]) {
			key = pair[1]
		}
		if b.has(pair[0]) && b.has(pair[1]) {
			r.errs.add(b.at(pair[1]), "there is "+pair[0]+" too", "put all of them into one of the two")
		}
		list := b.list(key)
		if b.has(key) && len(list) == 0 {
			r.errs.add(b.at(key), "empty", "without it, the name is the one made from the device's key")
		}
		for i := range list {
			if key == pair[0] && key == "name" || key == "names" {
				r.word(b.at(key), list[i])
			} else {
				r.errs.publicName(b.at(key), &list[i], relays)
			}
		}
		if pair[0] == "domain" {
			s.Domains = list
		} else {
			s.Words = list
		}
	}
	if len(s.Domains)+len(s.Words) == 0 {
		s.Words = []string{""}
	}
}

// word checks the word that a name is made from, beside the key. Nothing is the key
// alone.
func (r *serviceReader) word(at, word string) {
	if strings.Contains(word, ".") {
		r.errs.add(at, quote(word)+" is no word", "a whole name goes with --domain")
		return
	}
	if word != "" && (len(word) > hostname.MaxLabel || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
		r.errs.add(at, quote(word)+" is no word", fmt.Sprintf("lower-case letters, digits and hyphens, at most %d", hostname.MaxLabel))
	}
}

// names reports names that are there more than once, and one that could be any that was
// served before.
func (r *serviceReader) names(blocks []block) {
	count := 0
	for _, s := range r.remote.Services {
		count += len(s.Domains) + len(s.Words)
	}
	first := map[string]string{} // where each is, by what it is
	seen := func(name, shown, at string) {
		if where, twice := first[name]; twice {
			hint := "each name leads to one service"
			if f := r.src.file; f != nil && f.places[where].line > 0 {
				hint = fmt.Sprintf("the first is in line %d; %s", f.places[where].line, hint)
			}
			r.errs.add(at, shown+" is there twice", hint)
			return
		}
		first[name] = at
	}
	for i, s := range r.remote.Services {
		b := blocks[i]
		if s.Port != 0 {
			r.samePort(s, b, first)
		}
		for _, d := range s.Domains {
			seen(d, quote(d), b.at("domain"))
		}
		for _, w := range s.Words {
			shown, at := "the name made from the key and "+quote(w), b.at("name")
			if w == "" {
				shown = "the name made from the key alone"
			}
			if !b.has("name") && !b.has("names") {
				at = b.path
				if at == "" || !r.inFile() {
					at = b.at("domain")
				}
			}
			if w == "" && count > 1 && len(s.Relays)+len(r.remote.Relays) == 0 && !r.remote.RelayAuto {
				r.errs.add(at, "the relay is missing that gives "+shown, "relay: NAME, or --relay NAME: alone it would be the name that was served last")
			}
			// Below another relay it is another name.
			seen("\x00"+w+"\x00"+strings.Join(s.Relays, "\x00"), shown, at)
		}
	}
}

// samePort reports a TCP port that is asked for twice, of those in first.
func (r *serviceReader) samePort(s Service, b block, first map[string]string) {
	key := fmt.Sprint("\x00tcp", s.Port, s.Relays)
	if _, twice := first[key]; twice {
		r.errs.add(b.at("tcp"), tcpShown(s.Port)+" is asked for twice", "ask for another one: services: [{tcp: "+b.text("tcp")+fmt.Sprintf(", tcp_port: %d}]", (int(s.Port)+1000)%65536))
		return
	}
	first[key] = b.at("tcp")
}

// certificate reads the files of a certificate that is brought along.
func (r *serviceReader) certificate(b block, s *Service) {
	s.Cert, s.Key = r.path(b, "cert"), r.path(b, "key")
	switch {
	case s.Cert != "" && s.Key == "":
		r.errs.add(b.at("key"), "missing", "a certificate needs its private key: --cert FILE --key FILE")
	case s.Cert == "" && s.Key != "":
		r.errs.add(b.at("cert"), "missing", "a private key needs its certificate: --cert FILE --key FILE")
	case s.Cert != "" && s.Raw != nil && s.Raw.Kind == LocalTLS:
		r.errs.add(b.at("cert"), "has no effect: the service behind tls:// has its own certificate", "take cert and key out, or use tcp://")
	case s.Cert != "" && !r.inFile():
		if given := acmeSettings(*r.remote); len(given) > 0 {
			r.errs.add(b.at("cert"), "there are ACME settings too: "+strings.Join(given, ", "), "a certificate comes from ACME or from --cert and --key: take one of them out")
		}
	}
	r.errs.readable(b.at("cert"), s.Cert)
	r.errs.readable(b.at("key"), s.Key)
}

// alpn reads the services for visitors who offer certain protocols.
func (r *serviceReader) alpn(b block, s *Service) {
	taken := map[string]bool{}
	for _, row := range b.rows("alpn") {
		p := Protocols{Names: row.list("protocols")}
		if len(p.Names) == 0 {
			r.errs.add(row.at("protocols"), "missing: no visitor would get there", "as in [mqtt], or \"*\" for those who offer nothing that is named")
		}
		for _, name := range p.Names {
			switch {
			case name == "" || len(name) > 255:
				r.errs.add(row.at("protocols"), quote(name)+" is no protocol", "1 to 255 bytes, as in mqtt")
			case name == "acme-tls/1":
				r.errs.add(row.at("protocols"), quote(name)+" is for the CA's validations", "take it out")
			case taken[name]:
				r.errs.add(row.at("protocols"), quote(name)+" is there twice", "each protocol leads to one service")
			case (name == "h2" || name == "http/1.1") && s.Raw == nil:
				r.errs.add(row.at("protocols"), quote(name)+" is what visitors of websites offer, who go to local or routes", "take it out")
			}
			taken[name] = true
		}
		var ok bool
		if p.Local, ok = r.local(row); ok && p.Local.Kind != LocalTCP {
			r.errs.add(row.at("local"), quote(p.Local.String())+" is no tcp:// service", "as in tcp://127.0.0.1:1883")
		}
		s.ALPN = append(s.ALPN, p)
	}
	if len(s.ALPN) > 0 && s.Raw != nil && s.Raw.Kind == LocalTLS {
		r.errs.add(b.at("alpn"), "has no effect: the service behind tls:// chooses the protocol", "use tcp://, or take alpn out")
	}
}

// proxyProtocol reads the version of the header that tells who visits.
func (r *serviceReader) proxyProtocol(b block, s *Service) {
	switch b.text("proxy_protocol") {
	case "0":
	case "1":
		s.ProxyProtocol = 1
	case "2":
		s.ProxyProtocol = 2
	default:
		r.errs.add(b.at("proxy_protocol"), quote(b.text("proxy_protocol"))+" is no version", "1, which is text, or 2, which is binary")
	}
	if s.Raw == nil && len(s.ALPN) == 0 {
		r.errs.add(b.at("proxy_protocol"), "is for tcp:// and tls:// services alone", "an HTTP service gets the visitor's address in X-Forwarded-For")
	}
}

// headerName checks the name of a header that is changed, and is none of those that own
// reports.
func (r *serviceReader) headerName(at, name string, own func(canonical string) bool) {
	if !httpguts.ValidHeaderFieldName(name) {
		r.errs.add(at, quote(name)+" is no name of a header", "as in X-From")
		return
	}
	if strings.EqualFold(name, "Host") {
		r.errs.add(at, "the Host is not changed here", "host_header: target, or a name")
		return
	}
	if own(http.CanonicalHeaderKey(fields.WithDashes(name))) {
		r.errs.add(at, quote(name)+" is written by the remote itself", "take it out")
	}
}
