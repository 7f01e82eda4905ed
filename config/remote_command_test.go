package config_test

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
)

// What is wrong with the name to verify is said with how it has to look, whatever stands in
// the place of its scheme and its port.
func TestNameToVerifyIsExplained(t *testing.T) {
	const name, port = "as in https://xyz.relay.net", "a number from 1 to 65535"
	for address, want := range map[string][2]string{
		"http://xyz.relay.net":     {`"http://xyz.relay.net" is no public name: it is to begin with https://`, "did you mean https://xyz.relay.net"},
		"ftp://xyz.relay.net:21":   {`"ftp://xyz.relay.net:21" is no public name: it is to begin with https://`, "did you mean https://xyz.relay.net"},
		"https://[2001:db8::1]/":   {`"https://[2001:db8::1]/" is no public name: it is an IP address`, name},
		"192.0.2.1":                {`"192.0.2.1" is no public name: it is an IP address`, name},
		"127.0.0.1:443":            {`"127.0.0.1:443" is no public name: it is an IP address`, name},
		"xyz.relay.net:443/a?x":    {`"xyz.relay.net:443/a?x" is no public name: more follows`, "did you mean https://xyz.relay.net:443"},
		"xyz":                      {`"xyz" is no public name`, name},
		"https://xyz.relay.net/a":  {`"https://xyz.relay.net/a" is no public name: more follows than the name and a port`, "did you mean https://xyz.relay.net"},
		"xyz.relay.net:0":          {`"0" is no port`, port},
		"https://xyz.relay.net:":   {`"" is no port`, port},
		"https://xyz.relay.net:x/": {`"x" is no port`, port},
	} {
		fs := pflag.NewFlagSet("verify", pflag.ContinueOnError)
		config.VerifyFlags(fs)
		_, _, err := config.LoadVerify(fs, address)
		if err == nil {
			t.Errorf("%s is taken", address)
			continue
		}
		if got := err.Error(); !strings.Contains(got, want[0]) || strings.Count(got, "domain: ") != 1 || !strings.Contains(got, want[1]) {
			t.Errorf("%s: %q, want %q with %q", address, got, want[0], want[1])
		}
	}
}
