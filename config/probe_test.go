package config_test

import (
	"slices"
	"testing"

	"keystay/config"
)

// What a file says of interception is read, and of the command every word as it is.
func TestWhatIsDoneOnAnInterceptionIsRead(t *testing.T) {
	inFolder(t, map[string]string{"remote.yaml": `
probe: {mode: auto, with: [B.relay.test, "jmakhxkljw4tl7dchl2l5qpziclggzmn@c.relay.test:8443"], proxy: [socks5h://me:hunter2@127.0.0.1:9050, "proxy.test:3128"], dns: 9.9.9.9}
on_intercept: {then: stop, run: [notify-send, "one, two", --], post: "https://hooks.test/secret"}
services: [{domain: a.relay.test, local: 3000}]
`})
	r, _, err := loadRemote(t, "--config", "remote.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.InterceptRun, []string{"notify-send", "one, two", "--"}) || r.OnIntercept != "stop" || string(r.InterceptPost) != "https://hooks.test/secret" {
		t.Errorf("%q %s %s", r.InterceptRun, r.OnIntercept, string(r.InterceptPost))
	}
	if want := []config.ProbePeer{{Name: "b.relay.test", Port: 443}, {Label: "jmakhxkljw4tl7dchl2l5qpziclggzmn", Name: "c.relay.test", Port: 8443}}; !slices.Equal(r.ProbeWith, want) {
		t.Errorf("%+v", r.ProbeWith)
	}
	if len(r.ProbeProxies) != 2 || string(r.ProbeProxies[0]) != "socks5h://me:hunter2@127.0.0.1:9050" || string(r.ProbeProxies[1]) != "http://proxy.test:3128" || r.ProbeDNS != "9.9.9.9:53" {
		t.Errorf("%d %s", len(r.ProbeProxies), r.ProbeDNS)
	}
}

func TestMistakesAboutTheWatchAreTold(t *testing.T) {
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"the mode":          {[]string{"--probe", "maybe"}, `--probe: "maybe" is not auto or off`},
		"a proxy":           {[]string{"--probe-proxy", "ftp://me:hunter2@p"}, `--probe-proxy: "ftp" is no kind of proxy` + proxyForms},
		"no proxy":          {[]string{"--probe-proxy", "none"}, "--probe-proxy: this is no URL\nhint: leave it out to look the direct way alone"},
		"a proxy twice":     {[]string{"--probe-proxy", "p:1", "--probe-proxy", "http://p:1"}, "--probe-proxy: the same one twice"},
		"a remote's label":  {[]string{"--probe-with", "me@b.relay.test"}, "--probe-with: \"me@b.relay.test\" does not begin with the label of an identity\nhint: as in app.example.org, or jmakhxkljw4tl7dchl2l5qpziclggzmn@app.example.org:8443\nhint: remote identity show says it, on that device"},
		"a remote's port":   {[]string{"--probe-with", "b.relay.test:0"}, "--probe-with: \"0\" is no port\nhint: a number from 1 to 65535"},
		"the DNS server":    {[]string{"--probe-dns", "dns.test"}, "--probe-dns: \"dns.test\" is no address of a DNS server\nhint: as in 9.9.9.9 or [2620:fe::fe]:53"},
		"what is done then": {[]string{"--on-intercept", "stopp"}, "--on-intercept: \"stopp\" is not warn or stop\nhint: did you mean \"stop\"?"},
		"no program":        {[]string{"--on-intercept-run", ""}, "--on-intercept-run: the name of the program is empty"},
		"the webhook":       {[]string{"--on-intercept-post", "hooks.test/secret"}, "--on-intercept-post: this is no URL\nhint: as in https://hooks.example.com/…"},
		"what is not used":  {[]string{"--probe", "off", "--probe-dns", "9.9.9.9"}, "--probe-dns: nothing is looked at with probe off"},
	} {
		t.Run(what, func(t *testing.T) {
			_, _, err := loadRemote(t, append(c.args, "3000")...)
			wantText(t, err, c.want)
		})
	}
}
