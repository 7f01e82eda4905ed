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
	switch {
	case strings.TrimSpace(text) != text:
		return nil, &Error{Message: "there are blanks around the URL", Hints: []string{"take them out"}}
	case unquoted(text) != text:
		return nil, &Error{Message: "there are quotes around the URL, which are a part of it here", Hints: []string{"take them out"}}
	case isWithout(text):
		return nil, &Error{Message: quote(text) + " is no proxy", Hints: []string{"did you mean none, which is to go without?"}}
	}
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, &Error{Message: "this is no URL", Hints: []string{proxyHint, "what is no letter or digit in a user or password is written as %40 for @, %3A for :, %25 for %"}}
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

// isWithout reports whether a word stands for no proxy, and not for the name of one.
func isWithout(word string) bool {
	return slices.Contains([]string{NoProxy, "off", "no", "false", "direct"}, strings.ToLower(word))
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
			hints := []string{proxyForm}
			for _, h := range wrong.Hints {
				if h != proxyHint && !isWithout(value) {
					hints = append(hints, h)
				}
			}
			wrong.Hints = append(hints, hint.ProxyVariable.Do...)
			errs = append(errs, wrong)
		}
		return errs // the others are not looked at
	}
	return nil
}
