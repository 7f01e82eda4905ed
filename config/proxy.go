package config

import (
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"keystay/internal/hint"
	"keystay/internal/proxydial"
)

// NoProxy is the value of [Remote.Proxy] for no proxy at all.
const NoProxy = "none"

// proxyForm is how a proxy is written, and proxyHint how the flag is.
const (
	proxyForm = "as in http://proxy.corp.test:3128 or socks5://USER:PASSWORD@127.0.0.1:1080"
	proxyHint = proxyForm + "; none is to go without"
)

// proxy checks the URL of a proxy and gives it a scheme where it has none, as
// the convention for HTTPS_PROXY has it. Nothing of it is repeated, since it
// may hold a password.
func (e *Errors) proxy(key string, s *Secret) {
	if *s == "" || *s == NoProxy {
		return
	}
	if err := checkSecret(string(*s)); err != nil {
		e.add(key, err.Error())
		return
	}
	u, wrong := parseProxy(string(*s))
	if wrong != nil {
		wrong.Key = key
		*e = append(*e, wrong)
		return
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		e.add(key, "there is more than a host and a port in the URL", proxyHint,
			"what is no letter or digit in a user or password is written as %2F for /, %3F for ?, %23 for #")
		return
	}
	*s = Secret(u.String())
}

// parseProxy parses the URL of a proxy. What it says is wrong repeats nothing
// but the scheme or the port.
func parseProxy(text string) (*url.URL, *Error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, &Error{Message: "this is no URL", Hints: []string{proxyHint, "what is no letter or digit in a user or password is written as %40 for @, %3A for :"}}
	}
	u.Scheme = strings.ToLower(u.Scheme)
	switch port, err := strconv.ParseUint(u.Port(), 10, 16); {
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return nil, &Error{Message: quote(u.Scheme) + " is no kind of proxy", Hints: []string{proxyHint}}
	case !isHost(u.Hostname()):
		return nil, &Error{Message: "the URL names no host", Hints: []string{proxyHint}}
	case u.Port() != "" && (err != nil || port == 0):
		return nil, &Error{Message: quote(u.Port()) + " is no port", Hints: []string{"a number from 1 to 65535"}}
	}
	return u, nil
}

// proxyVariables reports what is wrong with the environment's proxy for https
// URLs, which is the one that is used where no --proxy is given.
func proxyVariables() Errors {
	for _, name := range proxydial.Variables() {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		var errs Errors
		if _, wrong := parseProxy(value); wrong != nil && os.Getenv("NO_PROXY") != "*" && os.Getenv("no_proxy") != "*" {
			wrong.From = name
			wrong.Hints = append([]string{proxyForm}, hint.ProxyVariable.Do...)
			errs = append(errs, wrong)
		}
		return errs // the others are not looked at
	}
	return nil
}
