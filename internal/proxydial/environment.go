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
