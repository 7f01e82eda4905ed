package config

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"keystay/internal/hint"
)

// remotePrefix begins the names of the remote's variables.
const remotePrefix = "KEYSTAY_REMOTE_"

// RemoteKeys returns the description of everything that can be set for a
// remote, in the order of its help.
func RemoteKeys() []Key {
	keys := []Key{
		{Name: "domain", Help: "the public `NAME`; by default one made from the device's key below --relay, or without that the last one served"},
		{Name: "local", Help: "the local `SERVICE`: 3000, :3000, host:3000, http://…, https://…, https+insecure://…, h2c://… or unix:/path; also as the one argument"},
		{Name: "host-header", Default: "keep", Help: "the Host that the service sees: `HOST` keep is the visitor's, target the one of --local, else a name of your choice, for services that refuse foreign ones"},
		{Name: "trust-private-addresses", Kind: Switch, Default: "false", Help: "tell the service also addresses of visitors that no one on the internet has, such as 127.0.0.1 or 192.168.1.2: for a relay in your own network"},
		{Name: "relay", Kind: List, Help: "the relay to dial, `HOST[:PORT]`; several serve the name at once; by default the one that gave the name before, or found from the top of the domain down"},
		{Name: "relay-address", Kind: List, Help: "dial this `HOST:PORT`; the relay's name is still what is verified; several are one relay's addresses, or one for each --relay"},
		{Name: "relay-root", Help: "PEM `FILE` of roots to trust for the relay's own certificate; by default the system's"},
		{Name: "token", Help: "the `TOKEN` that the relay's operator gave out; other users can see flags, so rather use --token-file or the variable"},
		{Name: "token-file", Help: "the `FILE` that holds the token, one line"},
		{Name: "allow", Kind: List, Help: "let visitors in from this `RANGE` alone, such as 192.0.2.0/24, 2001:db8::/32 or one address; several are all let in; by default everybody"},
		{Name: "deny", Kind: List, Help: "let no visitor in from this `RANGE`; where --allow has the address too, the smaller range counts; the CA's validations always pass"},
		{Name: "state-dir", Help: "the `DIR` of the identity key and certificates; by default the platform's own"},
		{Name: "acme-ca", Kind: List, Help: "the https `URL` of the CA's directory; of several, the next is asked when one cannot or will not; by default Let's Encrypt"},
		{Name: "acme-root", Help: "PEM `FILE` of roots to trust for the API of every CA given; by default the system's"},
		{Name: "acme-email", Help: "the contact `ADDRESS` for the CA's account"},
		{Name: "acme-eab-kid", Help: "the key `ID` for external account binding, if the CA asks for it"},
		{Name: "acme-eab-hmac", Help: "the `KEY` for external account binding, base64; rather use the variable"},
		{Name: "key-type", Default: "ecdsa", Help: "the key of the certificate, `KIND` ecdsa or rsa; rsa is for visitors of before 2014 or so, which know no other"},
		{Name: "cert", Help: "PEM `FILE` with a certificate to use instead of ACME"},
		{Name: "key", Help: "PEM `FILE` with its private key"},
		{Name: "replica", Kind: Switch, Default: "false", Help: "let other devices with this identity serve the name too, each started with --replica"},
		{Name: "transport", Default: "auto", Help: "how to reach the relay, `WAY` auto, tls or wss (a WebSocket); auto is tls, or wss where something on the path breaks tls"},
		{Name: "lanes", Default: "auto", Help: "`WAY` auto or off: auto dials the relay again for each visitor that turns out to be bulk, or asks much while packets are lost, which is faster; not through a proxy or wss"},
		{Name: "proxy", Help: "dial out through this proxy: `URL` http://, https://, socks5:// or socks5h://, with USER:PASSWORD@ in it if need be; none is to go without; by default HTTPS_PROXY, ALL_PROXY and NO_PROXY decide; other users can see flags, so rather use a variable for a password"},
		{Name: "dns", Help: "the `ADDRESS[:PORT]` of the DNS server to ask, where the system names none, as on Android; by default the system's"},
		{Name: "wait", Help: "give up when the name does not answer within `DURATION`, as in 90s or 5m; by default never"},
		{Name: "drain-timeout", Default: "30s", Help: "how long visitors may finish when the remote is told to stop: `DURATION`, as in 30s, at most 168h; 0s cuts them at once"},
		{Name: "log-level", Default: "info", Help: "how much is logged: `LEVEL` debug, info, warn or error; on a terminal, where there are sentences in place of a log, it brings the log"},
		{Name: "log-format", Default: "text", Help: "`FORMAT` of the log: text or json"},
	}
	for i := range keys {
		keys[i].Flag = keys[i].Name
	}
	return withEnv(remotePrefix, keys)
}

// RemoteFlags adds the remote's flags.
func RemoteFlags(fs *pflag.FlagSet) { register(fs, RemoteKeys()) }

// LoadRemote reads the configuration of a remote from the flags (which may be
// nil), the arguments that remain besides them, the environment and the
// defaults. It opens the files that are named and reads the token. A
// configuration that is wrong gives [Errors].
func LoadRemote(fs *pflag.FlagSet, args []string) (*Remote, []Warning, error) {
	keys := RemoteKeys()
	errs := append(tooMany(fs, keys, args), unknownVariables(remotePrefix, keys)...)
	src, err := newSource(keys, fs, nil)
	if err != nil {
		return nil, nil, err
	}
	var r Remote
	if err := src.viper.Unmarshal(&r); err != nil {
		return nil, nil, fmt.Errorf("decode configuration: %w", err)
	}
	local := src.viper.GetString("local")
	switch {
	case len(args) > 1 && isCommand(args[0]): // which is told already
		local = args[1]
	case len(args) > 0:
		local = args[0]
	}
	var wrong Errors
	wrong.local(&r.Local, local, len(args) > 0 || src.isSet("local"))
	wrong.wait(&r.Wait, src.viper.GetString("wait"))
	wrong.drain("drain-timeout", &r.DrainTimeout, src.viper.GetString("drain-timeout"))
	wrong.flag(&r.Replica, "replica", src.viper.GetString("replica"))
	wrong.flag(&r.TrustPrivateAddresses, "trust-private-addresses", src.viper.GetString("trust-private-addresses"))
	r.LogAsked = src.isSet("log-level") || src.isSet("log-format")
	if src.isSet("domain") && r.Domain == "" {
		wrong.add("domain", "empty")
	}
	if src.isSet("relay") && len(r.Relays) == 0 {
		wrong.add("relay", "empty")
	}
	if src.isSet("proxy") && r.Proxy == "" {
		wrong.add("proxy", "empty", "--proxy none is to go without a proxy")
	}
	if r.Proxy == "" {
		errs = append(errs, proxyVariables()...)
	}
	wrong.visitors(src, &r)
	r, more := checkRemote(r)
	wrong = append(wrong, more...)
	wrong.stateDir(&r.StateDir)
	wrong.readable("relay-root", r.RelayRoot)
	wrong.readable("acme-root", r.ACMERoot)
	wrong.readable("cert", r.Cert)
	wrong.readable("key", r.Key)
	warnings := wrong.secretFile("token-file", r.TokenFile, &r.Token)
	placed := src.locate(wrong)
	for _, e := range placed {
		if e.Key == "local" && len(args) > 0 {
			e.From = "the argument"
		}
	}
	if err := append(errs, placed...).sorted(""); err != nil {
		return nil, nil, err
	}
	return &r, warnings, nil
}

// stateDir fills in the default.
func (e *Errors) stateDir(dir *string) {
	if *dir != "" {
		return
	}
	var err error
	if *dir, err = DefaultStateDir(); err != nil {
		e.add("state-dir", "no default on this machine: "+err.Error(), "--state-dir DIR")
	}
}

// tooMany reports flags and arguments that were given more often than once.
func tooMany(fs *pflag.FlagSet, keys []Key, args []string) Errors {
	errs := repeated(fs, slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.Flag == "domain" || k.Flag == "local" }))
	report := func(from, message, hint string) {
		errs = append(errs, &Error{From: from, Message: message, Hints: []string{hint}})
	}
	for _, f := range []struct{ name, what, hint string }{
		{"domain", "several names", "give one; a second remote can serve the second name"},
		{"local", "several local services", "give one"},
	} {
		if fs == nil || fs.Lookup(f.name) == nil {
			continue
		}
		if values, ok := fs.Lookup(f.name).Value.(*textFlag); ok && values.given > 1 {
			report("--"+f.name, f.what+" are not supported yet", f.hint)
		}
	}
	if len(args) > 0 && fs != nil && fs.Changed("local") {
		report("--local", "there is an argument too, "+quote(args[0]), "give the local service once")
	}
	switch {
	case len(args) < 2:
	case isCommand(args[0]):
		report("the arguments", quote(args[0])+" is no command here", "the local service alone: remote "+args[1])
	case args[0] == "logout":
		report("the arguments", quote(args[0])+" is no command here", "did you mean remote login "+args[1]+" --remove?")
	case hint.Nearest(args[0], remoteCommands) != "":
		report("the arguments", quote(args[0])+" is no command here", "did you mean remote "+hint.Nearest(args[0], remoteCommands)+"?")
	default:
		report("the arguments", "several local services are not supported yet", "give one; anything else is a flag, see --help")
	}
	return errs
}

// remoteCommands are the remote's commands.
var remoteCommands = []string{"completion", "dns", "help", "login", "release", "share", "version"}

// isCommand reports whether a word is a command of other programs that is put
// before the local service, as in "ngrok http 3000".
func isCommand(word string) bool {
	return slices.Contains([]string{"http", "https", "tcp", "tls", "start", "serve", "tunnel", "expose", "publish", "up", "run"}, word)
}

// local parses the local service.
func (e *Errors) local(l *Local, s string, given bool) {
	if !given {
		e.add("local", "missing: there is nothing to publish", "remote 3000 publishes what listens on port 3000 of this machine")
		return
	}
	parsed, err := ParseLocal(s)
	if err != nil {
		var hints []string
		if meant := cmp.Or(meantLocal(s), meantHostPort(s, err)); meant != "" {
			hints = append(hints, meant)
		}
		e.add("local", err.Error(), append(hints, "it may be "+localForms)...)
		return
	}
	*l = parsed
}

// flag parses a switch.
func (e *Errors) flag(to *bool, key, s string) {
	switch s {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		e.add(key, quote(s)+" is neither true nor false", "the flag alone switches it on: --"+key, "to leave it off, leave it out, or --"+key+"=false")
	}
}

// wait parses the time after which to give up.
func (e *Errors) wait(d *time.Duration, s string) {
	if s == "" {
		return
	}
	parsed, err := time.ParseDuration(s)
	switch {
	case err != nil && isDigits(s):
		e.add("wait", quote(s)+" has no unit", "as in "+quote(s+"s"))
	case err != nil:
		e.add("wait", quote(s)+" is no duration", "as in 90s or 5m")
	case parsed < 0:
		e.add("wait", quote(s)+" is negative", "0 is for ever")
	default:
		*d = parsed
	}
}

// isSet reports whether a flag or a variable gave the key, be it empty.
func (s *source) isSet(key string) bool {
	from, _ := s.origin(key)
	return from != ""
}
