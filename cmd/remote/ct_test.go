package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"keystay/config"
	"keystay/remote/watch/ct"
)

// Certificate transparency is watched where certificates are published, and else only
// where the owner has named a monitor.
func TestWhatIsWatchedInCT(t *testing.T) {
	logged := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}}}}
	const own, public = "https://ca.home.arpa/dir", "https://acme.zerossl.com/v2/DV90"
	for name, c := range map[string]struct {
		cfg  config.Remote
		n    ct.Name
		want bool
	}{
		"Let's Encrypt":                         {config.Remote{CT: "auto"}, ct.Name{}, true},
		"a private CA":                          {config.Remote{CT: "auto", ACMECAs: []string{own}}, ct.Name{}, false},
		"a private CA, then a public one":       {config.Remote{CT: "auto", ACMECAs: []string{own, public}}, ct.Name{}, true},
		"a private CA, and a monitor":           {config.Remote{CT: "https://monitor.test/", ACMECAs: []string{own}}, ct.Name{}, true},
		"turned off":                            {config.Remote{CT: "off"}, ct.Name{Brought: true, Certificate: logged}, false},
		"a replica":                             {config.Remote{CT: "auto", Replica: true}, ct.Name{Brought: true, Certificate: logged}, false},
		"a replica, and a monitor":              {config.Remote{CT: "https://monitor.test/", Replica: true}, ct.Name{}, true},
		"brought along, published":              {config.Remote{CT: "auto", ACMECAs: []string{own}}, ct.Name{Brought: true, Certificate: logged}, true},
		"brought along, not published":          {config.Remote{CT: "auto"}, ct.Name{Brought: true, Certificate: &x509.Certificate{}}, false},
		"brought along, not there":              {config.Remote{CT: "auto"}, ct.Name{Brought: true}, false},
		"brought along, private, and a monitor": {config.Remote{CT: "https://monitor.test/"}, ct.Name{Brought: true}, true},
	} {
		watched, why := isCTWatchedFor(&c.cfg, c.n)
		if watched != c.want || (why == "") != watched {
			t.Errorf("%s: %v, %q", name, watched, why)
		}
	}
}

// The monitor is asked through the first proxy that the watch looks through, else
// through that of all else.
func TestWhichProxyTheMonitorIsAskedThrough(t *testing.T) {
	for want, cfg := range map[string]config.Remote{
		"http://probe.test:1": {Proxy: "http://all.test:1", ProbeProxies: []config.Secret{"http://probe.test:1", "http://two.test:1"}},
		"http://all.test:1":   {Proxy: "http://all.test:1"},
	} {
		choose, err := ctProxy(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := choose(nil); err != nil || u.String() != want {
			t.Errorf("%v, %v, want %s", u, err, want)
		}
	}
}
