package relaylist

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// IsURL reports whether a list is fetched, and not read from a file.
func IsURL(list string) bool {
	return strings.HasPrefix(list, "https://") || strings.HasPrefix(list, "http://")
}

// CheckURL returns what is wrong with the URL of a list. It is https, so that nobody on
// the way says which key is to be trusted, or of this machine.
func CheckURL(list string) error {
	u, err := url.Parse(list)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("it is no https:// URL")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return errors.New("it is asked in the clear, and so could be answered by anybody")
	}
	return nil
}
