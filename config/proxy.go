package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// NoProxy is the value of [Remote.Proxy] for no proxy at all.
const NoProxy = "none"

// proxyHint is how a proxy is written.
const proxyHint = "as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080; none is to go without"

// proxy checks the URL of a proxy and gives it a scheme where it has none, as
// the convention for HTTPS_PROXY has it. Nothing of it is repeated, since it
// may hold a password.
func (e *Errors) proxy(s *Secret) {
	if *s == "" || *s == NoProxy {
		return
	}
	if err := checkSecret(string(*s)); err != nil {
		e.add("proxy", err.Error())
		return
	}
	text := string(*s)
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		e.add("proxy", "this is no URL", proxyHint, "what is no letter or digit in a user or password is written as %40 for @, %3A for :")
		return
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch port, err := strconv.ParseUint(u.Port(), 10, 16); {
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		e.add("proxy", quote(u.Scheme)+" is no kind of proxy", proxyHint)
	case !isHost(u.Hostname()):
		e.add("proxy", "the URL names no host", proxyHint)
	case u.Port() != "" && (err != nil || port == 0):
		e.add("proxy", quote(u.Port())+" is no port", "a number from 1 to 65535")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		e.add("proxy", "there is more than a host and a port in the URL", proxyHint,
			"what is no letter or digit in a user or password is written as %2F for /, %3F for ?, %23 for #")
	default:
		*s = Secret(u.String())
	}
}
