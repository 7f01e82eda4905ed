package config_test

import (
	"fmt"

	"github.com/spf13/pflag"

	"keystay/config"
)

func ExampleLoadRelay() {
	fs := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(fs)
	if err := fs.Parse([]string{"--domain", "relay.test", "--listen", ":8443"}); err != nil {
		fmt.Println(err)
		return
	}
	r, warnings, err := config.LoadRelay(fs)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Domain, r.Listen, r.StateDir)
	for _, w := range warnings {
		fmt.Println(w.Message)
	}
	// Output:
	// relay.test [:8443] /var/lib/keystay
	// names.policy is open: anyone who can reach this relay may take names below relay.test
}

func ExampleLoadRemote() {
	fs := pflag.NewFlagSet("remote", pflag.ContinueOnError)
	config.RemoteFlags(fs)
	if err := fs.Parse([]string{"--domain", "xyz.relay.test", "--wait", "30", "3000"}); err != nil {
		fmt.Println(err)
		return
	}
	_, _, err := config.LoadRemote(fs, fs.Args())
	fmt.Println(err)
	// Output:
	// --wait: "30" has no unit
	// hint: as in "30s"
}

func ExampleParseLocal() {
	l, err := config.ParseLocal(":3000")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l, l.Addresses())
	// Output: http://127.0.0.1:3000 [127.0.0.1:3000 [::1]:3000]
}
