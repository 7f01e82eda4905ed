package config

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"keystay/internal/hostname"
)

// ProxyProtocol says which proxies stand before the relay.
type ProxyProtocol struct {
	// From are the addresses from which every connection to Listen and to HTTPListen
	// begins with a PROXY protocol header, version 1 or 2, which is believed; from
	// elsewhere none is. Empty, the default, is nowhere.
	From []netip.Prefix `mapstructure:"-"`
}

// Static is a name that leads to a server of the operator's own.
type Static struct {
	// Name is a whole host name, normalised like Domain, or "*." and one for all names
	// below that. It is not the relay's own.
	Name string `mapstructure:"name"`

	// To is the host:port of the server, which speaks TLS.
	To string `mapstructure:"to"`

	// HTTP is the host:port that requests to HTTPListen are passed on to; empty sends
	// them to https.
	HTTP string `mapstructure:"http"`

	// ProxyProtocol is the version of the PROXY protocol header that both get at the
	// beginning: "1", "2", or empty for none.
	ProxyProtocol string `mapstructure:"proxy_protocol"`
}

// Fallback is where names lead that are neither below Domain nor given out. Its fields are
// those of a [Static].
type Fallback struct {
	// To is the host:port of the server, or empty for none: then they are refused.
	To string `mapstructure:"to"`

	// HTTP is as that of a Static.
	HTTP string `mapstructure:"http"`

	// ProxyProtocol is as that of a Static.
	ProxyProtocol string `mapstructure:"proxy_protocol"`
}

// frontKeys are the keys of what stands before the relay, and beside it.
func frontKeys() []Key {
	const (
		http  = "HOST:PORT of a server of plain HTTP that requests to http_listen are passed on to; empty sends them to https"
		proxy = "the version of the PROXY protocol header that says to it who comes: 1, 2, or 0 for none, which is the default"
	)
	return []Key{
		{Name: "proxy_protocol.from", Kind: List, Help: "addresses and ranges of proxies, such as a load balancer, whose PROXY protocol header (version 1 or 2) says who comes; each connection from there must begin with one, and from elsewhere none is believed"},
		{Name: "static", Kind: Table, Help: "names that lead to servers of your own, and that no device gets"},
		{Name: "static[].name", Help: "a whole name, below the domain or not, or *. and a name for all below that"},
		{Name: "static[].to", Help: "HOST:PORT of a server that speaks TLS"},
		{Name: "static[].http", Help: http},
		{Name: "static[].proxy_protocol", Kind: Number, Help: proxy},
		{Name: "fallback.to", Help: "HOST:PORT of a server that speaks TLS, for names that are neither below the domain nor given out, and for visitors whose program sends none; empty refuses these"},
		{Name: "fallback.http", Help: http},
		{Name: "fallback.proxy_protocol", Kind: Number, Help: proxy},
	}
}

// front checks what stands before the relay, and beside it.
func (r *relayReader) front() {
	named := make(map[string]int)
	for i := range r.relay.Static {
		s, key := &r.relay.Static[i], fmt.Sprintf("static[%d]", i)
		r.staticName(key+".name", &s.Name)
		if other, twice := named[s.Name]; twice && s.Name != "" {
			r.errs.add(key+".name", fmt.Sprintf("%s is the name of static[%d] too", quote(s.Name), other), "a name leads to one server: take one of the two out")
		}
		named[s.Name] = i
		if s.To = strings.TrimSpace(s.To); s.To == "" {
			r.errs.add(key+".to", "missing", "the server behind the name, as in 127.0.0.1:8443")
		}
		r.server(key, s.To, s.HTTP, &s.ProxyProtocol)
	}
	f := &r.relay.Fallback
	if f.To = strings.TrimSpace(f.To); f.To == "" && f.HTTP != "" {
		r.errs.add("fallback.to", "missing", "fallback.http is the same server's plain HTTP: say where its TLS is, as in 127.0.0.1:8443")
	}
	r.server("fallback", f.To, f.HTTP, &f.ProxyProtocol)
}

// staticName checks and normalises a name that leads to a server of the operator's.
func (r *relayReader) staticName(key string, name *string) {
	domain := r.relay.Domain
	*name = strings.TrimSpace(*name)
	base, all := strings.CutPrefix(*name, "*.")
	normal, err := hostName(base)
	switch {
	case *name == "":
		r.errs.add(key, "missing", "a name, as in mail."+example(domain)+" or www.example.com")
		return
	case err != nil && belowDomain(base, domain) != "":
		r.errs.add(key, err.Error(), fmt.Sprintf("did you mean %q?", strings.TrimSuffix(*name, base)+belowDomain(base, domain)))
		return
	case err != nil:
		r.errs.add(key, err.Error(), "as in mail."+example(domain))
		return
	case normal == domain && all:
		r.errs.add(key, quote(*name)+" is all that this relay gives out", "name those that are your own, as in mail."+domain)
	case normal == domain:
		r.errs.add(key, quote(*name)+" is the relay's own name", "a name of its own, as in www."+domain)
	case all && hostname.IsBelow(domain, normal):
		r.errs.add(key, quote(*name)+" has the relay's own name among them", "names that do not, as in *.apps."+normal)
	}
	if *name = normal; all {
		*name = "*." + normal
	}
}

// server checks where a server of the operator's is. It may not be the relay itself.
func (r *relayReader) server(key, to, http string, version *string) {
	for _, a := range []struct {
		key, address string
		listen       []string
	}{{".to", to, r.relay.Listen}, {".http", http, r.relay.HTTPListen}} {
		if a.address == "" {
			continue
		}
		r.errs.address(key+a.key, a.address, false)
		for _, l := range a.listen {
			if isSame(a.address, l) {
				r.errs.add(key+a.key, fmt.Sprintf("%s is this relay itself, which listens on %s", quote(a.address), l), "a server has a port of its own, as in 127.0.0.1:8443")
			}
		}
	}
	switch *version {
	case "", "0":
		*version = ""
	case "1", "2":
	default:
		r.errs.add(key+".proxy_protocol", quote(*version)+" is no version of the PROXY protocol", "1, 2, or 0 for none")
	}
}

// isSame reports whether a connection to an address surely comes to what listens on the
// other one: the ports are the same, and the hosts, or both are this machine.
func isSame(to, listen string) bool {
	host, port, err := net.SplitHostPort(to)
	at, listens, err2 := net.SplitHostPort(listen)
	if err != nil || err2 != nil || port != listens {
		return false
	}
	return host == at || isHere(host) && (at == "" || isHere(at) || isEvery(at))
}

// isHere reports whether a host is this machine, by its loopback.
func isHere(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified())
}

func isEvery(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsUnspecified()
}

// proxies reads the addresses of the proxies before the relay.
func (r *relayReader) proxies() (list []netip.Prefix) {
	for i, text := range r.src.viper.GetStringSlice(strings.ReplaceAll("proxy_protocol.from", ".", delimiter)) {
		p, ok := r.errs.addressRange("proxy_protocol.from", i, text)
		if ok && p.Bits() == 0 {
			r.errs.add(fmt.Sprintf("proxy_protocol.from[%d]", i), quote(text)+" is everybody, who could say to be anybody", "the addresses of the proxies alone, as in 192.0.2.10 or 10.0.0.0/24")
		} else if ok {
			list = append(list, p)
		}
	}
	return list
}
