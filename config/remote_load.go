package config

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"keystay/internal/hint"
	"keystay/internal/relaylist"
)

// remotePrefix begins the names of the remote's variables.
const remotePrefix = "KEYSTAY_REMOTE_"

// RemoteKeys returns the description of everything that can be set for a
// remote. Those of services come first, then the others in the order of the
// commented file.
func RemoteKeys() []Key {
	config := Key{Name: "config", Flag: "config", Help: "the `FILE` with the configuration (YAML), which may have many services; a flag or a variable only"}
	return withEnv(remotePrefix, append([]Key{config}, remoteFileKeys()...))
}

// remoteFileKeys are the keys of remote.yaml. Those of a service that have a flag
// are those of the services that flags make.
func remoteFileKeys() []Key {
	keys := slices.Concat(serviceKeys(), []Key{
		{Name: "relay", Kind: Texts, Help: "the relay to dial, `HOST[:PORT]`; several serve the names at once; auto takes the best one of --relay-list and keeps it; by default the one that gave the name before, or found from the top of the domain down"},
		{Name: "relay_list", Help: "where a published list of relays is, the https `URL` or a file: for --relay auto and remote relays"},
		{Name: "relay_list_key", Kind: Texts, Help: "the public `KEY` that must have signed the list, as in ed25519:…; of several, one is enough; by default the one of the list's first time, which is kept"},
		{Name: "relay_address", Kind: Texts, Help: "dial this `HOST:PORT`; the relay's name is still what is verified; several are one relay's addresses, or one for each --relay"},
		{Name: "relay_root", Help: "PEM `FILE` of roots to trust for the relay's own certificate; by default the system's"},
		{Name: "token", Secret: true, Help: "the `TOKEN` that the relay's operator gave out; other users can see flags, so rather use --token-file or the variable"},
		{Name: "token_file", Help: "the `FILE` that holds the token, one line"},
		{Name: "state_dir", Help: "the `DIR` of the identity key and certificates; by default the platform's own"},
		{Name: "trust_private_addresses", Kind: Switch, Default: "false", Help: "tell services also addresses of visitors that no one on the internet has, such as 127.0.0.1 or 192.168.1.2: for a relay in your own network"},
		{Name: "acme.ca", Kind: Texts, Help: "the https `URL` of the CA's directory; of several, the next is asked when one cannot or will not; by default Let's Encrypt"},
		{Name: "acme.root", Help: "PEM `FILE` of roots to trust for the API of every CA given; by default the system's"},
		{Name: "acme.email", Help: "the contact `ADDRESS` for the CA's account"},
		{Name: "acme.eab.kid", Help: "the key `ID` for external account binding, if the CA asks for it"},
		{Name: "acme.eab.hmac", Secret: true, Help: "the `KEY` for external account binding, base64; rather use the variable"},
		{Name: "acme.rehearsal", Default: "auto", Help: "`WAY` auto or off: auto looks at each address that DNS gives for the name before an order, and orders nothing where one is not this device's; where this device cannot reach its own public address, the order goes on"},
		{Name: "ct", Default: "auto", Help: "whether to look in certificate transparency for certificates of your names with other keys: `WAY` auto, off or the https URL of a monitor in the form of Cert Spotter's API v1; auto asks Cert Spotter where the CA publishes its certificates, which tells it your names"},
		{Name: "key_type", Default: "ecdsa", Help: "the key of the certificates, `KIND` ecdsa or rsa; rsa is for visitors of before 2014 or so, which know no other"},
		{Name: "listen", Kind: Texts, Help: "let visitors come to this device's own `[HOST]:PORT` too, without a relay: in the local network, by IPv6 or by a forwarded port; several are several addresses; by default nobody does"},
		{Name: "replica", Kind: Switch, Default: "false", Help: "let other devices with this identity serve the names too, each started with --replica"},
		{Name: "transport", Default: "auto", Help: "how to reach the relay, `WAY` auto, tls or wss (a WebSocket); auto is tls, or wss where something on the path breaks tls"},
		{Name: "lanes", Default: "auto", Help: "`WAY` auto or off: auto dials the relay again for each visitor that turns out to be bulk, or asks much while packets are lost, which is faster; not through a proxy or wss"},
		{Name: "siblings", Default: "auto", Help: "`WAY` auto or off: auto tells each relay of a name which others serve it, so that one which has lost this device passes its visitors on, where both relays' operators have agreed on that"},
		{Name: "proxy", Secret: true, Help: "dial out through this proxy: `URL` http://, https://, socks5:// or socks5h://, with USER:PASSWORD@ in it if need be; none is to go without; by default HTTPS_PROXY, ALL_PROXY and NO_PROXY decide; other users can see flags, so rather use a variable for a password"},
		{Name: "dns", Help: "the `ADDRESS[:PORT]` of the DNS server to ask, where the system names none, as on Android; by default the system's"},
		{Name: "probe.mode", Flag: "probe", Default: "auto", Help: "`WAY` auto or off: auto looks at each name from outside now and then, as a visitor does, whether anybody listens in"},
		{Name: "probe.proxy", Kind: Texts, Secret: true, Help: "look through this proxy too, a `URL` as for --proxy, best one in another network; may repeat; rather use the variable for a password"},
		{Name: "probe.with", Kind: Texts, Help: "have another remote of yours look too, from its network, and look for it likewise: `[LABEL@]NAME[:PORT]`, where NAME is a name of it that serves HTTP, and LABEL what remote identity show says there, if that is not this device's; may repeat"},
		{Name: "probe.dns", Help: "ask the DNS server at this `ADDRESS[:PORT]` too for what to look at; by default the one of --dns or the system's alone"},
		{Name: "on_intercept.then", Flag: "on-intercept", Default: "warn", Help: "what to do when a name is seen to show a key that is not this device's: `WHAT` warn, or stop, which ends all visitors and the remote at once with code 4"},
		{Name: "on_intercept.run", Kind: Lines, Help: "run this command then, which gets JSON on its standard input: the program, and each `WORD` behind it by a flag of its own; no shell is between"},
		{Name: "on_intercept.post", Secret: true, Help: "post the same JSON to this `URL` then; it may hold a secret, and is in no log"},
		{Name: "inspect", Alone: "on", Default: "off", Kind: Number, Help: "show each request and its answer on a page for this machine alone, whose address is printed: `ADDRESS` off, on, or a port or loopback address to listen on, as in --inspect=4040"},
		{Name: "wait", Help: "give up when not every name answers within `DURATION`, as in 90s or 5m; by default never"},
		{Name: "drain_timeout", Default: "30s", Help: "how long visitors may finish when the remote is told to stop: `DURATION`, as in 30s, at most 168h; 0s cuts them at once"},
		{Name: "metrics", Alone: "on", Default: "off", Kind: Number, Help: "serve figures of this device for Prometheus at /metrics: `ADDRESS` off, on, which is 127.0.0.1:9441, or a port of this machine or address to listen on, as in --metrics=9500"},
		{Name: "plain", Kind: Switch, Default: "false", Help: "on a terminal, write lines in the place of the live screen, as for a screen reader"},
		{Name: "log.level", Default: "info", Help: "how much is logged: `LEVEL` debug, info, warn or error; on a terminal, where there is a screen or sentences in place of a log, it brings the log"},
		{Name: "log.format", Default: "text", Help: "`FORMAT` of the log: text or json"},
	})
	for i, k := range keys {
		if k.Flag == "" && !strings.HasPrefix(k.Name, "services") {
			keys[i].Flag = strings.NewReplacer(".", "-", "_", "-").Replace(k.Name)
		}
	}
	return withEnv(remotePrefix, keys)
}

// RemoteFlags adds the remote's flags.
func RemoteFlags(fs *pflag.FlagSet) {
	register(fs, RemoteKeys())
	ltFlags(fs)
}

// LoadRemote reads the configuration of a remote from the flags (which may be
// nil), the arguments that remain besides them, the environment, the file that one of
// these names, and the defaults. It opens the files that are named and reads the
// token. A configuration that is wrong gives [Errors].
func LoadRemote(fs *pflag.FlagSet, args []string) (*Remote, []Warning, error) {
	return loadRemote(fs, args, nil)
}

// loadRemote is LoadRemote with services that neither the file nor flags say, unless they
// are nil.
func loadRemote(fs *pflag.FlagSet, args []string, given []Given) (*Remote, []Warning, error) {
	keys := RemoteKeys()
	if wrong := longDash(fs, args); wrong != nil {
		return nil, nil, Errors{wrong} // nothing behind it means what was meant
	}
	errs := append(repeated(fs, keys), unknownVariables(remotePrefix, slices.Concat(keys, passphraseKeys()))...)
	errs = append(errs, fromLT(fs)...)
	told := len(errs)
	errs = append(errs, arguments(fs, args)...)
	switch { // a mistake that is told already is not told twice
	case len(args) > 1 && isCommand(args[0]):
		args = args[1:]
	case len(args) > 1 && len(errs) > told:
		args = args[:1]
	}
	f, name := (*file)(nil), RemoteFile(fs)
	if name != "" {
		f = readFile(name, remoteFileKeys())
		errs = append(errs, f.errs...)
	} else if fs != nil && fs.Changed("config") {
		errs = append(errs, &Error{From: "--config", Message: "the name of the file is empty"})
	}
	src, err := newSource(remoteFileKeys(), fs, f)
	if err != nil {
		return nil, nil, err
	}
	r := &remoteReader{remote: src.remote(), src: src}
	r.check()
	remote := r.remote
	r.errs.wait(&remote.Wait, src.text("wait"))
	r.errs.drain("drain_timeout", &remote.DrainTimeout, src.text("drain_timeout"))
	r.errs.flag(&remote.Replica, "replica", src.text("replica"))
	r.errs.flag(&remote.Plain, "plain", src.text("plain"))
	r.errs.flag(&remote.TrustPrivateAddresses, "trust_private_addresses", src.text("trust_private_addresses"))
	remote.LogAsked = src.isSet("log.level") || src.isSet("log.format")
	if src.isSet("relay") && len(remote.Relays) == 0 && !remote.RelayAuto && !src.inFile("relay") {
		r.errs.add("relay", "empty")
	}
	if src.isSet("proxy") && remote.Proxy == "" && !src.inFile("proxy") {
		r.errs.add("proxy", "empty", "--proxy none is to go without a proxy")
	}
	if remote.Proxy == "" {
		errs = append(errs, proxyVariables()...)
	}
	r.errs.stateDir(&remote.StateDir)
	r.readableList()
	r.errs.readable("relay_root", remote.RelayRoot)
	r.errs.readable("acme.root", remote.ACMERoot)
	warnings := r.errs.secretFile("token_file", remote.TokenFile, &remote.Token)
	if who := reachedBy(remote.Metrics); who != "" {
		warnings = append(warnings, Warning{Key: "metrics", Message: fmt.Sprintf("metrics at %s are open to %s: anybody there reads how much is visited, and when", quote(remote.Metrics), who),
			Hints: []string{"--metrics alone is for this machine; from elsewhere, reach it by ssh -L or a private network"}})
	}
	services := &serviceReader{errs: r.errs, src: src, remote: remote, warnings: warnings, given: given}
	services.read(args)
	services.secretsKept()
	if f != nil && f.public {
		services.warnOpen(*remote)
	}
	placed := src.locate(services.errs)
	for _, e := range placed {
		if e.From == "--local" && len(args) > 0 {
			e.From = "the argument"
		}
	}
	if err := slices.Concat(errs, services.told, placed).sorted(name); err != nil {
		return nil, nil, err
	}
	return remote, services.warnings, nil
}

// RemoteFile returns the name of the file that flags, which may be nil, or environment
// say, or "".
func RemoteFile(fs *pflag.FlagSet) string {
	name := os.Getenv(remotePrefix + "CONFIG")
	if fs != nil && fs.Changed("config") {
		name, _ = fs.GetString("config")
	}
	return name
}

// remote returns what was said of everything but services, as it was said; paths are
// ready to open.
func (s *source) remote() *Remote {
	r := &Remote{
		Relays:         s.list("relay"),
		RelayList:      s.text("relay_list"),
		RelayListKeys:  s.list("relay_list_key"),
		RelayAddresses: s.list("relay_address"),
		Listen:         s.list("listen"),
		RelayRoot:      s.text("relay_root"),
		Token:          Secret(s.text("token")),
		TokenFile:      s.text("token_file"),
		StateDir:       s.text("state_dir"),
		ACMECAs:        s.list("acme.ca"),
		ACMERoot:       s.text("acme.root"),
		ACMEEmail:      s.text("acme.email"),
		ACMEEABKID:     s.text("acme.eab.kid"),
		ACMEEABHMAC:    Secret(s.text("acme.eab.hmac")),
		ACMERehearsal:  s.text("acme.rehearsal"),
		CT:             s.text("ct"),
		KeyType:        s.text("key_type"),
		Lanes:          s.text("lanes"),
		Siblings:       s.text("siblings"),
		Transport:      s.text("transport"),
		Proxy:          Secret(s.text("proxy")),
		DNS:            s.text("dns"),
		Probe:          s.text("probe.mode"),
		ProbeDNS:       s.text("probe.dns"),
		OnIntercept:    s.text("on_intercept.then"),
		InterceptRun:   s.lines("on_intercept.run"),
		InterceptPost:  Secret(s.text("on_intercept.post")),
		Inspect:        s.text("inspect"),
		Metrics:        s.text("metrics"),
		LogLevel:       s.text("log.level"),
		LogFormat:      s.text("log.format"),
	}
	for _, name := range s.list("probe.with") {
		r.ProbeWith = append(r.ProbeWith, ProbePeer{Name: name})
	}
	for _, url := range s.list("probe.proxy") {
		r.ProbeProxies = append(r.ProbeProxies, Secret(url))
	}
	if !relaylist.IsURL(r.RelayList) {
		s.resolve("relay_list", &r.RelayList)
	}
	for key, path := range map[string]*string{"relay_root": &r.RelayRoot, "token_file": &r.TokenFile, "state_dir": &r.StateDir, "acme.root": &r.ACMERoot} {
		s.resolve(key, path)
	}
	return r
}

// stateDir fills in the default.
func (e *Errors) stateDir(dir *string) {
	if *dir != "" {
		return
	}
	var err error
	if *dir, err = DefaultStateDir(); err != nil {
		e.add("state_dir", "no default on this machine: "+err.Error(), "--state-dir DIR")
	}
}

// arguments reports arguments that are given beside --local, and commands of other
// programs among them.
func arguments(fs *pflag.FlagSet, args []string) (errs Errors) {
	report := func(from, message string, hints ...string) {
		errs = append(errs, &Error{From: from, Message: message, Hints: hints})
	}
	if len(args) > 0 && fs != nil && fs.Changed("local") {
		report("--local", "there is an argument too, "+quote(args[0]), append(valueApart(fs), "give the local services in one way")...)
	}
	switch {
	case len(args) < 2:
	case isCommand(args[0]) && (args[0] == "tcp" || args[0] == "tls"):
		report("the arguments", quote(args[0])+" is no command here", "the local service alone, as in remote "+args[0]+"://127.0.0.1:"+args[1][strings.LastIndexByte(args[1], ':')+1:])
	case isCommand(args[0]):
		report("the arguments", quote(args[0])+" is no command here", "the local service alone: remote "+args[1])
	case args[0] == "logout":
		report("the arguments", quote(args[0])+" is no command here", "did you mean remote login "+args[1]+" --remove?")
	case hint.Nearest(args[0], remoteCommands) != "":
		report("the arguments", quote(args[0])+" is no command here", "did you mean remote "+hint.Nearest(args[0], remoteCommands)+"?")
	}
	return errs
}

// longDash reports the first argument that is a flag but for its dash, which a word
// processor or a web page has made a long one.
func longDash(fs *pflag.FlagSet, args []string) *Error {
	for _, arg := range args {
		if name, long := hint.LongDash(arg); long && fs != nil {
			wrong := &Error{From: "the arguments", Message: quote(arg) + " begins with a long dash"}
			var names []string
			fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
			if near := hint.Nearest(name, names); near != "" {
				wrong.Hints = []string{"two short ones are meant: --" + near}
			}
			return wrong
		}
	}
	return nil
}

// remoteCommands are the remote's commands.
var remoteCommands = []string{"check", "completion", "connect", "dns", "docker", "doctor", "help", "identity", "login", "password", "relays", "release", "reload", "service", "share", "status", "stop", "verify", "version"}

// isCommand reports whether a word is a command of other programs that is put
// before the local service, as in "ngrok http 3000".
func isCommand(word string) bool {
	return slices.Contains([]string{"http", "https", "tcp", "tls", "start", "serve", "tunnel", "expose", "publish", "up", "run"}, word)
}

// flag parses a switch.
func (e *Errors) flag(to *bool, key, s string) {
	name := strings.ReplaceAll(key, "_", "-")
	switch s {
	case "true":
		*to = true
	case "false":
		*to = false
	default:
		e.add(key, quote(s)+" is neither true nor false", "the flag alone switches it on: --"+name, "to leave it off, leave it out, or --"+name+"=false")
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
