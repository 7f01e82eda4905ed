package publish

import (
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
)

// sanitize makes a visitor's request safe to hand on, or refuses it: a local
// service trusts what comes from its own machine. It returns the status and the
// text of the refusal, or 0.
func sanitize(r *http.Request, domain string) (status int, text string) {
	if r.Host == "" { // else the local service would see its own address there
		r.Host = domain
	}
	if hostOnly(r.Host) != domain || !portIsNumber(r.Host) {
		return http.StatusMisdirectedRequest, "421 Misdirected Request: this connection is for " + domain
	}
	// HTTP/2 lets a query have spaces, which would end the request's target in
	// HTTP/1.1.
	if strings.ContainsAny(r.URL.RawQuery, " \t") {
		return http.StatusBadRequest, "400 Bad Request: a space in the query"
	}
	// Another HTTP inside the connection would be past everything here, and a
	// token that is no text would be taken for the service's mistake.
	if up := r.Header.Get("Upgrade"); strings.HasPrefix(strings.ToLower(up), "h2") || !printable(up) {
		r.Header.Del("Upgrade")
		r.Header.Del("Http2-Settings")
	}
	return 0, ""
}

// hostOnly is a Host header's name: in lower case, without port and last dot.
func hostOnly(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// portIsNumber reports whether a Host header has no port, or one of digits.
func portIsNumber(host string) bool {
	_, port, err := net.SplitHostPort(host)
	return err != nil || strings.Trim(port, "0123456789") == ""
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// dropForwarded takes out what only a proxy may say about a visitor. Names with
// underscores are the same to services that see headers as CGI variables.
func dropForwarded(h http.Header) {
	for name := range h {
		same := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if strings.HasPrefix(same, "x-forwarded-") || same == "forwarded" || same == "x-real-ip" {
			delete(h, name)
		}
	}
}

func (t *Target) rewrite(r *httputil.ProxyRequest) {
	h := r.Out.Header
	dropForwarded(h)
	r.SetURL(t.URL)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy takes out what it cannot parse
	r.Out.Host = r.In.Host
	dropForwarded(r.In.Trailer)  // so far there are names alone
	r.Out.Trailer = r.In.Trailer // filled in when the body has been read
	r.SetXForwarded()
	h.Set("Forwarded", forwarded(r.In))
}

// forwarded is the Forwarded header for a request (RFC 7239).
func forwarded(r *http.Request) string {
	node := "unknown"
	if ip, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		node = ip
		if strings.Contains(ip, ":") {
			node = `"[` + ip + `]"`
		}
	}
	value := "for=" + node
	if r.Host != "" {
		value += `;host="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(r.Host) + `"`
	}
	return value + ";proto=https"
}
