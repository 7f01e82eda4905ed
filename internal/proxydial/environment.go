package proxydial

import (
	"cmp"
	"net/http"
	"net/url"
	"os"

	"golang.org/x/net/http/httpproxy"
)

// Variables are those that may name the proxy for an https URL, in the order in
// which they are asked: the first one that is set and not empty counts.
func Variables() []string { return []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} }

// FromEnvironment returns the proxy that the environment names for an https URL,
// or nil: as [http.ProxyFromEnvironment] does, which does not know ALL_PROXY.
func FromEnvironment(r *http.Request) (*url.URL, error) {
	env := httpproxy.FromEnvironment()
	env.HTTPSProxy = ""
	for _, name := range Variables() {
		env.HTTPSProxy = cmp.Or(env.HTTPSProxy, os.Getenv(name))
	}
	return env.ProxyFunc()(r.URL)
}

// Variable returns the variable of the environment that names the proxy at u, or "": so
// somebody who has set it long ago, or has not set it himself, learns where it is from.
func Variable(u *url.URL) string {
	for _, name := range Variables() {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		named, err := (&httpproxy.Config{HTTPSProxy: value}).ProxyFunc()(&url.URL{Scheme: "https", Host: "relay.invalid"})
		if err == nil && named != nil && u != nil && named.String() == u.String() {
			return name
		}
		return "" // the others are not looked at
	}
	return ""
}

// Named returns how an error names the proxy at u: without user and password, and with
// the variable that it is from.
func Named(u *url.URL) string {
	text := u.Scheme + "://" + u.Host
	if name := Variable(u); name != "" {
		text += ", which " + name + " names"
	}
	return text
}
