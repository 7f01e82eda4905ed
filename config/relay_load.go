package config

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/pflag"

	"keystay/internal/hint"
)

// relayPrefix begins the names of the relay's variables.
const relayPrefix = "KEYSTAY_RELAY_"

// RelayKeys returns the description of everything that can be set for a relay,
// in the order of the commented file.
func RelayKeys() []Key {
	config := Key{Name: "config", Flag: "config", Help: "the `FILE` with the configuration (YAML); a flag or a variable only"}
	return withEnv(relayPrefix, append([]Key{config}, relayFileKeys()...))
}

// relayFileKeys are the keys of relay.yaml.
func relayFileKeys() []Key {
	return withEnv(relayPrefix, slices.Concat([]Key{
		{Name: "domain", Flag: "domain", Help: "the relay's own `NAME`, and the zone below which it gives out names"},
		{Name: "listen", Kind: List, Flag: "listen", Default: ":443", Help: "`HOST:PORT` for visitors and remotes, one or more; port 0 is any free one"},
		{Name: "http_listen", Kind: List, Flag: "http-listen", Default: ":80", Help: "`HOST:PORT` for plain HTTP: to https, and ACME HTTP-01; empty is off"},
		{Name: "state_dir", Flag: "state-dir", Default: "/var/lib/keystay", Help: "the `DIR` of certificates, grants and the control socket"},
		{Name: "names.policy", Default: "open", Help: "who may take names: open (first come), token or closed"},
		{Name: "names.key_names", Default: "open", Help: "who may have the name made from a device's key: open (every device), token (with any valid one) or off"},
		{Name: "names.reserved", Kind: List, Help: "labels below the domain that are given out only for a token that has the very name, as in www or mail*, beside the built-in list"},
		{Name: "names.expire_unused", Default: "8760h", Help: "how long a name is kept for a device that is not seen, as in 8760h, from 24h to 87600h; then it is kept from others for 90 days more"},
		{Name: "names.certificates_per_week", Kind: Number, Default: "50", Help: "how many new names may have their first certificate in 7 days, of the CA's limit for the domain; 0 is no limit"},
		{Name: "names.custom_domains", Kind: Switch, Default: "true", Help: "whether a device may have a domain of its own, which DNS proves; names.policy says who may"},
		{Name: "names.resolvers", Kind: List, Help: "the DNS servers that are asked for such a proof, ADDRESS[:PORT], 4 at most; by default those of /etc/resolv.conf"},
		{Name: "names.webhook.url", Help: "the URL of a server that is asked before a new name is given out, https or on this machine; empty is off"},
		{Name: "names.webhook.secret_file", Help: "the file with the key that signs the questions, one line of 16 bytes or more"},
		{Name: "names.webhook.remember", Default: "1m", Help: "how long an answer counts for the same question, as in 1m, at most 24h; 0s asks each time"},
		{Name: "tokens", Kind: Table, Help: "tokens given out in files, beside those of relay token"},
		{Name: "tokens[].secret_file", Help: "the file that holds the token, one line of 16 bytes or more"},
		{Name: "tokens[].names", Kind: List, Help: "the names it may take: whole ones, or *. and a name for all below that"},
	}, limitKeys(), []Key{
		{Name: "acme.ca", Help: "the https URL of the CA's directory; empty is Let's Encrypt"},
		{Name: "acme.ca_root", Help: "PEM file of roots to trust for the CA's API; empty is the system's"},
		{Name: "acme.email", Help: "the contact for the CA's account; may be empty"},
		{Name: "acme.eab.kid", Help: "the key id for external account binding, if the CA asks for it"},
		{Name: "acme.eab.hmac", Secret: true, Help: "the key for external account binding, base64"},
		{Name: "tls.cert_file", Help: "PEM file with a certificate for the domain, instead of acme"},
		{Name: "tls.key_file", Help: "PEM file with its private key"},
		{Name: "admin.listen", Default: "127.0.0.1:9440", Help: "host:port of the operator's page, /metrics, /healthz and /readyz; empty in the file is off"},
		{Name: "admin.password_file", Help: "the file with those who may sign in on the page and change things, lines of USER:HASH as htpasswd -B writes them; without one the page only shows, on this machine alone"},
		{Name: "admin.hosts", Kind: List, Help: "further names by which the page may be asked for, as a proxy in front of it passes them on"},
		{Name: "admin.pprof", Kind: Switch, Default: "false", Help: "profiles of the process at /debug/pprof/ there, for who looks into its time and memory; only on a loopback address"},
		{Name: "metrics.per_name", Kind: Number, Default: "0", Help: "how many names have visitors and bytes of their own in the metrics, at most 10000; the others count together. 0 keeps every name out of them"},
		{Name: "site.words_file", Help: "the file with the operator's own words for the page on the relay's name, plain text of up to 16 KiB; may be empty"},
	}, frontKeys(), siblingKeys(), []Key{
		{Name: "tcp_ports", Kind: Number, Help: "public TCP ports that devices may have for protocols without a server name, as in 20000-20999; the relay sees what goes over them, so that only protocols which encrypt by themselves are private; empty gives out none"},
	}, clusterKeys(), []Key{
		{Name: "log.level", Flag: "log-level", Default: "info", Help: "how much is logged: `LEVEL` debug, info, warn or error"},
		{Name: "log.format", Flag: "log-format", Default: "text", Help: "`FORMAT` of the log: text or json"},
		{Name: "drain_timeout", Default: "30s", Help: "how long visitors may finish when the relay is told to stop, as in 30s, at most 168h; 0s cuts them at once"},
		{Name: "takeover_drain", Default: "1h", Help: "how long they may finish in a process that another has taken over from, as in 1h, at most 168h; 0s cuts them at once"},
		{Name: "reload", Default: "keep", Help: "what becomes of a change in the file that the running process cannot take up: keep leaves it and says so, takeover starts a new process that takes over, unseen by visitors"},
		{Name: "default_name", Help: "the name below the domain that visitors get whose program sends none, or an address; empty refuses them"},
		{Name: "memory", Help: "how much memory links, unfinished hellos and visitors who wait may take together, as in 512MiB, at least 16MiB; empty is half of GOMEMLIMIT, else of the control group's limit, else of the machine's memory"},
		{Name: "lanes", Default: "auto", Help: "auto lets bulk move to connections of its own, which remotes dial to the public port; off keeps all on the links"},
		{Name: "abuse", Help: "public contact for complaints: a mail address, mailto: or https:// URL; may be empty"},
	}))
}

// RelayFlags adds the relay's flags.
func RelayFlags(fs *pflag.FlagSet) { register(fs, RelayKeys()) }

// RelayStateFlags adds the flags that say which relay is meant, of those that run
// here: that with this file, or with this state directory. See [RelayStateDir].
func RelayStateFlags(fs *pflag.FlagSet) {
	for _, k := range RelayKeys() {
		if k.Name == "config" || k.Name == "state_dir" {
			register(fs, []Key{k})
		}
	}
}

// RelayFile returns the name of the file that flags, which may be nil, or environment
// say, or "".
func RelayFile(fs *pflag.FlagSet) string {
	name := os.Getenv(relayPrefix + "CONFIG")
	if fs != nil && fs.Changed("config") {
		name, _ = fs.GetString("config")
	}
	return name
}

// relayFile reads that file, or returns nil without one.
func relayFile(fs *pflag.FlagSet) *file {
	name := RelayFile(fs)
	if name == "" {
		return nil
	}
	return readFile(name, relayFileKeys())
}

// LoadRelay reads the configuration of a relay from the flags (which may be
// nil), the environment, the file that one of these names, and the defaults.
// It opens the files that are named and reads the tokens' secrets. A
// configuration that is wrong gives [Errors].
func LoadRelay(fs *pflag.FlagSet) (*Relay, []Warning, error) {
	r, _, warnings, err := ReadRelay(fs)
	return r, warnings, err
}

// ReadRelay is LoadRelay, and returns where each value came from.
func ReadRelay(fs *pflag.FlagSet) (*Relay, []Setting, []Warning, error) {
	errs := append(repeated(fs, RelayKeys()), unknownVariables(relayPrefix, RelayKeys())...)
	if fs != nil && fs.Changed("config") {
		if name, _ := fs.GetString("config"); name == "" {
			errs = append(errs, &Error{From: "--config", Message: "the name of the file is empty"})
		}
	}
	f, name := relayFile(fs), ""
	if f != nil {
		name = f.name
		errs = append(errs, f.errs...)
	}
	src, err := newSource(relayFileKeys(), fs, f)
	if err != nil {
		return nil, nil, nil, err
	}
	var relay Relay
	if err := src.viper.Unmarshal(&relay); err != nil {
		return nil, nil, nil, fmt.Errorf("decode configuration: %w", err)
	}
	r := &relayReader{relay: &relay, src: src}
	r.check()
	r.read()
	if err := append(errs, src.locate(r.errs)...).sorted(name); err != nil {
		return nil, nil, nil, err
	}
	return &relay, src.settings(), r.warnings, nil
}

// read reads what is more than a value: numbers, times, ranges and files.
func (r *relayReader) read() {
	relay, src, errs := r.relay, r.src, &r.errs
	errs.drain("drain_timeout", &relay.DrainTimeout, src.said("drain_timeout"))
	errs.drain("takeover_drain", &relay.TakeoverDrain, src.said("takeover_drain"))
	r.warnings = append(r.warnings, longStop(relay.DrainTimeout)...)
	r.tcpPorts()
	r.clusterFiles()
	errs.size("memory", &relay.Memory, src.said("memory"))
	errs.span("names.expire_unused", &relay.Names.ExpireUnused, src.said("names.expire_unused"), MinExpire, MaxExpire)
	errs.span("names.webhook.remember", &relay.Names.Webhook.Remember, src.said("names.webhook.remember"), 0, MaxRemember)
	errs.trueOrFalse("names.custom_domains", &relay.Names.CustomDomains, src.said("names.custom_domains"))
	errs.trueOrFalse("admin.pprof", &relay.Admin.Pprof, src.said("admin.pprof"))
	r.profiles()
	errs.count("metrics.per_name", &relay.Metrics.PerName, src.said("metrics.per_name"), MaxPerName)
	errs.count("names.certificates_per_week", &relay.Names.CertificatesPerWeek, src.said("names.certificates_per_week"), maxPerWeek)
	relay.Limits = r.limits()
	relay.ProxyProtocol.From = r.proxies()
	r.siblings()
	src.resolve("state_dir", &relay.StateDir)
	for _, f := range []struct {
		key  string
		path *string
	}{{"acme.ca_root", &relay.ACME.CARoot}, {"tls.cert_file", &relay.TLS.CertFile}, {"tls.key_file", &relay.TLS.KeyFile}} {
		src.resolve(f.key, f.path)
		errs.readable(f.key, *f.path)
	}
	for i := range relay.Tokens {
		src.resolve(fmt.Sprintf("tokens[%d].secret_file", i), &relay.Tokens[i].SecretFile)
	}
	r.tokenSecrets()
	src.resolve("names.webhook.secret_file", &relay.Names.Webhook.SecretFile)
	r.webhookSecret()
	r.pages()
	if f := src.file; f != nil && f.public && relay.ACME.EAB.HMAC != "" && src.inFile("acme.eab.hmac") {
		r.warnings = append(r.warnings, openFile("acme.eab.hmac", f.name, "a key"))
	}
	if relay.TLS == (TLS{}) { // a proxy is on the way to the CA alone
		for _, e := range proxyVariables() {
			r.warnings = append(r.warnings, Warning{Key: e.From, Message: e.From + ": " + e.Message, Hints: e.Hints})
		}
	}
}

// openFile warns of a configuration that holds a secret and that others can read.
func openFile(key, name, what string) Warning {
	return Warning{
		Key:     key,
		Message: fmt.Sprintf("%s holds %s and every user of this machine can read it", name, what),
		Hints:   hint.FileOpen.With("FILE", name),
	}
}
