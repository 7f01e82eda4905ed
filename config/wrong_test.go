package config_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"keystay/config"
)

// What a person gets to read, for each mistake in relay.yaml. The texts are
// part of the product.
func TestWrongFileSaysWhatAPersonReads(t *testing.T) {
	tests := []struct{ name, file, want string }{
		{"misspelt key", "domain: relay.test\nnmaes: {policy: open}\n",
			"relay.yaml:2: unknown key \"nmaes\"\nhint: did you mean \"names\"?"},
		{"misspelt and needed", "domian: relay.test\n",
			"relay.yaml:1: unknown key \"domian\"\nhint: did you mean \"domain\"?"},
		{"misspelt below", "domain: relay.test\nacme:\n  eab:\n    kdi: x\n",
			"relay.yaml:4: unknown key \"kdi\"\nhint: did you mean \"kid\"?"},
		{"misspelt in a list", "domain: relay.test\nnames: {policy: token}\ntokens:\n  - secret_file: s\n    nmaes: [xyz.relay.test]\n",
			"relay.yaml:5: unknown key \"nmaes\"\nhint: did you mean \"names\"?"},
		{"on the wrong level", "domain: relay.test\npolicy: token\n",
			"relay.yaml:2: unknown key \"policy\"\nhint: did you mean names: {policy: …}?"},
		{"dots in a key", "domain: relay.test\nlog.level: info\n",
			"relay.yaml:2: unknown key \"log.level\"\nhint: did you mean log: {level: …}?"},
		{"as a flag is written", "domain: relay.test\nlog_level: debug\nhttp-listen: []\n",
			"relay.yaml:2: unknown key \"log_level\"\nhint: did you mean log: {level: …}?\nrelay.yaml:3: unknown key \"http-listen\"\nhint: did you mean \"http_listen\"?"},
		{"a map on the wrong level", "domain: relay.test\naddress: {names: 5}\n",
			"relay.yaml:2: unknown key \"address\"\nhint: did you mean limits: {address: …}?"},
		{"a map of a map on the wrong level", "domain: relay.test\netcd: {}\n",
			"relay.yaml:2: unknown key \"etcd\"\nhint: did you mean cluster: {etcd: …}?"},
		{"the other program's file", "domain: relay.test\nservices: []\n",
			"relay.yaml:2: unknown key \"services\"\nhint: that is a key of remote.yaml, the file of remote --config"},
		{"yes", "domain: relay.test\nnames: {custom_domains: yes}\nadmin: {pprof: off}\n",
			"relay.yaml:2: names.custom_domains must be true or false, it is text\nhint: did you mean true?\nrelay.yaml:3: admin.pprof must be true or false, it is text\nhint: did you mean false?"},
		{"true for a word", "domain: relay.test\nreload: true\n",
			"relay.yaml:2: reload must be text, it is true or false\nhint: keep or takeover"},
		{"a port for a list of addresses", "domain: relay.test\nlisten: 443\n",
			"relay.yaml:2: listen must be a list, it is a number\nhint: with a colon, in brackets: [\":443\"]"},
		{"a map for a list of maps", "domain: relay.test\ntokens: {secret_file: s}\n",
			"relay.yaml:2: tokens must be a list, it is a map\nhint: each of the list begins with a dash, or all in brackets: tokens: [{…}]"},
		{"a space of a web page", "domain:\u00a0relay.test\nlog: {level: info}\n",
			"relay.yaml:1: there is a space that does not break (U+00A0) in this line\nhint: write an ordinary space in its place: it may have come from a web page or a word processor"},
		{"nothing near", "domain: relay.test\ntls: {ciphers: x}\n",
			"relay.yaml:2: unknown key \"ciphers\"\nhint: known here: cert_file, key_file"},
		{"a key of remote.yaml", "domain: relay.test\ndns: {}\n",
			"relay.yaml:2: unknown key \"dns\"\nhint: that is a key of remote.yaml, the file of remote --config"},
		{"config is no key", "domain: relay.test\nconfig: x\n",
			"relay.yaml:2: unknown key \"config\"\nhint: known here: domain, listen, http_listen, state_dir, names, tokens, limits, acme, tls, admin, metrics, site, proxy_protocol, static, fallback, siblings, tcp_ports, cluster, log, drain_timeout, takeover_drain, reload, default_name, memory, lanes, abuse"},
		{"key twice", "domain: relay.test\nabuse: \"\"\ndomain: other.net\n",
			"relay.yaml:3: key \"domain\" is here twice\nhint: the first is in line 1"},
		{"wrong word", "domain: relay.test\nnames: {policy: opne}\n",
			"relay.yaml:2: names.policy: \"opne\" is not open, token or closed\nhint: did you mean \"open\"?"},
		{"duration without a unit", "domain: relay.test\ndrain_timeout: \"30\"\n",
			"relay.yaml:2: drain_timeout: \"30\" has no unit\nhint: as in \"30s\""},
		{"a star without quotes", "domain: relay.test\ntokens: [{secret_file: t, names: [*.relay.test]}]\n",
			"relay.yaml:2: not valid YAML: did not find expected alphabetic or numeric character\nhint: a word that begins with * or & means something else in YAML: put it in quotes"},
		{"number for a duration", "domain: relay.test\ntakeover_drain: 30\n",
			"relay.yaml:2: takeover_drain must be text, it is a number\nhint: a number and its unit, as in \"30s\""},
		{"true for lanes", "domain: relay.test\nlanes: true\n",
			"relay.yaml:2: lanes must be text, it is true or false\nhint: auto or off"},
		{"a star alone for a token's names", "domain: relay.test\nnames: {policy: token}\ntokens: [{secret_file: s, names: \"*\"}]\n",
			"relay.yaml:3: tokens[0].names must be a list, it is text\nhint: *. and a name, as in [\"*.relay.net\"]"},
		{"one address and every address", "domain: relay.test\nlisten: [\":8553\", \"127.0.0.1:8553\"]\n",
			"relay.yaml:2: listen[1]: \"127.0.0.1:8553\" overlaps listen[0], which has that port\nhint: an address without a host is every address: change one of the two, or take it out"},
		{"IPv6 without brackets", "domain: relay.test\nlisten: [\"::1:8443\"]\n",
			"relay.yaml:2: listen[0]: \"::1:8443\" is not host:port\nhint: did you mean \"[::1]:8443\", or \"[::1:8443]:443\"?"},
		{"IPv6 without brackets and a port of five digits", "domain: relay.test\nlisten: [\"::1:18443\"]\n",
			"relay.yaml:2: listen[0]: \"::1:18443\" is not host:port\nhint: did you mean \"[::1]:18443\"?"},
		{"negative and too long", "domain: relay.test\ndrain_timeout: -1s\ntakeover_drain: 169h\n",
			"relay.yaml:2: drain_timeout: \"-1s\" is negative\nhint: 0s cuts visitors at once\n" +
				"relay.yaml:3: takeover_drain: \"169h\" is too long\nhint: 168h at most, which is a week"},
		{"default name elsewhere", "domain: relay.test\ndefault_name: xyz.other.test\n",
			"relay.yaml:2: default_name: \"xyz.other.test\" is not below relay.test\nhint: did you mean \"xyz.relay.test\"?"},
		{"default name of its own", "domain: relay.test\ndefault_name: Relay.test\n",
			"relay.yaml:2: default_name: \"Relay.test\" is the relay's own name\nhint: a name below it, as in xyz.relay.test"},
		{"default name with a star", "domain: relay.test\ndefault_name: \"*.relay.test\"\n",
			"relay.yaml:2: default_name: \"*.relay.test\" is no host name: '*' cannot be in it\nhint: as in xyz.relay.test"},
		{"no domain", "listen: [\":443\"]\n",
			"relay.yaml: domain: missing\nhint: the relay's own name, as in domain: relay.net or --domain relay.net"},
		{"text for a list", "domain: relay.test\nlisten: \":443\"\n",
			"relay.yaml:2: listen must be a list, it is text\nhint: put it in brackets: [\":443\"]"},
		{"off for a list", "domain: relay.test\nhttp_listen: off\n",
			"relay.yaml:2: http_listen must be a list, it is text\nhint: write [] for an empty list, which is off"},
		{"false for a list", "domain: relay.test\nhttp_listen: false\n",
			"relay.yaml:2: http_listen must be a list, it is true or false\nhint: write [] for an empty list, which is off"},
		{"number for text", "domain: relay.test\nacme: {eab: {kid: 12, hmac: \"\"}}\n",
			"relay.yaml:2: acme.eab.kid must be text, it is a number\nhint: put it in quotes"},
		{"list for text", "domain: [relay.test]\n",
			"relay.yaml:1: domain must be text, it is a list\nhint: take the brackets away"},
		{"long list for text", "domain: [relay.test, x.test]\n",
			"relay.yaml:1: domain must be text, it is a list\nhint: as in deploy/relay.yaml"},
		{"map for text", "domain: {name: relay.test}\n",
			"relay.yaml:1: domain must be text, it is a map\nhint: as in deploy/relay.yaml"},
		{"text for a map", "domain: relay.test\nnames: open\n",
			"relay.yaml:2: names must be a map, it is text\nhint: as in names: {policy: …}"},
		{"text for the log", "domain: relay.test\nlog: debug\n",
			"relay.yaml:2: log must be a map, it is text\nhint: as in log: {level: …}"},
		{"profiles for everybody", "domain: relay.test\nadmin: {listen: \":9440\", pprof: true}\n",
			"relay.yaml:2: admin.pprof: others than this machine could take profiles at \":9440\"\nhint: admin: {listen: \"127.0.0.1:9440\", pprof: true}; from elsewhere, reach it by ssh -L"},
		{"too many names in the metrics", "domain: relay.test\nmetrics: {per_name: 10001}\n",
			"relay.yaml:2: metrics.per_name: \"10001\" is no number from 0 to 10000"},
		{"text for the admin address", "domain: relay.test\nadmin: 127.0.0.1:9440\n",
			"relay.yaml:2: admin must be a map, it is text\nhint: as in admin: {listen: …}"},
		{"text for a map in a map", "domain: relay.test\nacme: {eab: kid}\n",
			"relay.yaml:2: acme.eab must be a map, it is text\nhint: as in eab: {kid: …}"},
		{"text for the tokens", "domain: relay.test\ntokens: abc\n",
			"relay.yaml:2: tokens must be a list, it is text\nhint: as in tokens: [{secret_file: FILE, names: [\"xyz.relay.net\"]}]"},
		{"number for the memory", "domain: relay.test\nmemory: 512\n",
			"relay.yaml:2: memory must be text, it is a number\nhint: a number and its unit, as in \"512MiB\""},
		{"another unit of memory", "domain: relay.test\nmemory: 2gb\n",
			"relay.yaml:2: memory: \"2gb\" is no amount of memory\nhint: did you mean \"2GiB\"?"},
		{"no unit of memory", "domain: relay.test\nmemory: 2 buckets\n",
			"relay.yaml:2: memory: \"2 buckets\" is no amount of memory\nhint: as in 512MiB or 2GiB; without it, half of what the process may have"},
		{"a label for the default name", "domain: relay.test\ndefault_name: www\n",
			"relay.yaml:2: default_name: \"www\" has no dot\nhint: did you mean \"www.relay.test\"?"},
		{"labels for a token's names", "domain: relay.test\nnames: {policy: token}\ntokens: [{secret_file: s, names: [abc, \"*.team\"]}]\n",
			"relay.yaml:3: tokens[0].names[0]: \"abc\" has no dot\nhint: did you mean \"abc.relay.test\"?\n" +
				"relay.yaml:3: tokens[0].names[1]: \"team\" has no dot\nhint: did you mean \"*.team.relay.test\"?"},
		{"hosts without a port", "domain: relay.test\nlisten: [localhost]\nhttp_listen: [localhost]\nadmin: {listen: localhost}\n",
			"relay.yaml:2: listen[0]: \"localhost\" is not host:port\nhint: did you mean \"localhost:443\"?\n" +
				"relay.yaml:3: http_listen[0]: \"localhost\" is not host:port\nhint: did you mean \"localhost:80\"?\n" +
				"relay.yaml:4: admin.listen: \"localhost\" is not host:port\nhint: did you mean \"localhost:9440\"?"},
		{"an address that is none", "domain: relay.test\nlisten: [\"300.1.1.1:443\"]\n",
			"relay.yaml:2: listen[0]: \"300.1.1.1\" is no host"},
		{"text in the list of maps", "domain: relay.test\ntokens: [abc]\n",
			"relay.yaml:2: tokens[0] must be a map, it is text\nhint: as in tokens: [{secret_file: FILE, names: [\"xyz.relay.net\"]}]"},
		{"number in a list", "domain: relay.test\nlisten: [443]\n",
			"relay.yaml:2: listen[0] must be text, it is a number\nhint: with a colon, in quotes: [\":443\"]"},
		{"a port for the admin address", "domain: relay.test\nadmin: {listen: 9440}\n",
			"relay.yaml:2: admin.listen must be text, it is a number\nhint: with its host, in quotes: \"127.0.0.1:9440\""},
		{"off for the admin address", "domain: relay.test\nadmin: {listen: off}\n",
			"relay.yaml:2: admin.listen: \"off\" is not host:port\nhint: an empty text turns it off: admin: {listen: \"\"}"},
		{"false for the admin address", "domain: relay.test\nadmin: {listen: false}\n",
			"relay.yaml:2: admin.listen must be text, it is true or false\nhint: write \"\" to turn it off"},
		{"a port with a letter", "domain: relay.test\nlisten: [443x]\n",
			"relay.yaml:2: listen[0]: \"443x\" is no port\nhint: a number from 1 to 65535 behind a colon, as in \":443\""},
		{"nothing for text", "domain: relay.test\nabuse:\n",
			"relay.yaml:2: abuse must be text, it is nothing\nhint: write \"\" for an empty text, or take the key out"},
		{"nothing for a list", "domain: relay.test\ntokens:\n",
			"relay.yaml:2: tokens must be a list, it is nothing\nhint: write [] for an empty list, or take the key out"},
		{"empty list where one is needed", "domain: relay.test\nlisten: []\n",
			"relay.yaml:2: listen: empty: nobody could connect\nhint: listen: [\":443\"]"},
		{"alias", "domain: &a relay.test\nabuse: *a\n",
			"relay.yaml:1: anchors and aliases are not taken here\nhint: write the value out\n" +
				"relay.yaml:2: anchors and aliases are not taken here\nhint: write the value out"},
		{"alias of nothing", "domain: *a\n",
			"relay.yaml: not valid YAML: unknown anchor 'a' referenced\nhint: a word that begins with * or & means something else in YAML: put it in quotes"},
		{"merge", "<<: {domain: relay.test}\n",
			"relay.yaml:1: unknown key \"<<\"\nhint: known here: domain, listen, http_listen, state_dir, names, tokens, limits, acme, tls, admin, metrics, site, proxy_protocol, static, fallback, siblings, tcp_ports, cluster, log, drain_timeout, takeover_drain, reload, default_name, memory, lanes, abuse\n" +
				"relay.yaml: domain: missing\nhint: the relay's own name, as in domain: relay.net or --domain relay.net"},
		{"a key that is a list", "? [a]\n: b\n",
			"relay.yaml:1: this is no key\nhint: a key is one word"},
		{"own tag", "domain: !relay relay.test\n",
			"relay.yaml:1: domain must be text, it is a value with the tag \"!relay\"\nhint: put it in quotes"},
		{"tab", "domain: relay.test\nnames:\n\tpolicy: open\n",
			"relay.yaml:3: a tab indents this line\nhint: YAML is indented with spaces only"},
		{"open bracket", "domain: relay.test\nlisten: [\":443\"\nstate_dir: x\n",
			"relay.yaml:2: not valid YAML: did not find expected ',' or ']'\nhint: look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"},
		{"open brace at the end", "domain: relay.test\nnames: {policy: open\n",
			"relay.yaml:2: not valid YAML: did not find expected ',' or '}'\nhint: look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"},
		{"open quote", "domain: 'relay.test\n",
			"relay.yaml:1: a quote opens here, and is not closed in this line\nhint: put the same quote at the end of the text"},
		{"list item among keys", "domain: relay.test\n- x\n",
			"relay.yaml:2: not valid YAML: did not find expected key\nhint: look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"},
		{"two colons", "domain: relay.test\nlog: level: info\n",
			"relay.yaml:2: not valid YAML: mapping values are not allowed in this context\nhint: look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"},
		{"wrong indent", "domain: relay.test\n  abuse: x\n",
			"relay.yaml:2: not valid YAML: mapping values are not allowed in this context\nhint: look there, and in the line before, for a bracket that is not closed, a colon too many or without a space behind it, or another indent than around it"},
		{"not text", "domain: relay.test\nabuse: \xff\n",
			"relay.yaml:2: this line is not plain text\nhint: the file must be text in UTF-8: is this the right file?"},
		{"empty", "",
			"relay.yaml: the file is empty\nhint: start from the commented deploy/relay.yaml; the one key that it must have is domain"},
		{"comments only", "# domain: relay.test\n",
			"relay.yaml: the file is empty\nhint: start from the commented deploy/relay.yaml; the one key that it must have is domain"},
		{"null", "---\n",
			"relay.yaml: the file is empty\nhint: start from the commented deploy/relay.yaml; the one key that it must have is domain"},
		{"no map", "- domain: relay.test\n",
			"relay.yaml:1: the file must be a map, it is a list\nhint: write keys and values, as in domain: relay.net"},
		{"two documents", "domain: relay.test\n---\ndomain: relay.test\n",
			"relay.yaml:2: a second document starts here\nhint: keep one document and take out the line ---"},
		{"too large", "domain: relay.test\n#" + strings.Repeat("x", config.MaxFile),
			"relay.yaml: cannot read the file: it is larger than 1048576 bytes\nhint: is this the right file? a configuration is text of a few lines"},
		{"address for a domain", "domain: 192.0.2.1\n",
			"relay.yaml:1: domain: \"192.0.2.1\" is an address, not a name\nhint: a relay needs a domain whose DNS leads to that address: see deploy/dns-wildcard.md"},
		{"wildcard for a domain", "domain: \"*.relay.test\"\n",
			"relay.yaml:1: domain: \"*.relay.test\" is no host name: '*' cannot be in it\nhint: all names below a domain are the relay's anyway: did you mean \"relay.test\"?"},
		{"port in a domain", "domain: relay.test:8443\n",
			"relay.yaml:1: domain: \"relay.test:8443\" is no host name: ':' cannot be in it\nhint: the port belongs into listen: did you mean \"relay.test\"?"},
		{"domain without a value", "domain:\n",
			"relay.yaml:1: domain must be text, it is nothing\nhint: the relay's own name, as in domain: relay.net or --domain relay.net"},
		{"domain of the documents", "domain: Relay.NET\n",
			"relay.yaml:1: domain: \"Relay.NET\" stands in the documents for a domain of your own\nhint: put a domain in its place whose DNS is yours: Let's Encrypt is asked for a certificate for it"},
		{"domain that nobody can have", "abuse: \"\"\ndomain: tunnel.example.org\n",
			"relay.yaml:2: domain: \"tunnel.example.org\" stands in the documents for a domain of your own\nhint: put a domain in its place whose DNS is yours: Let's Encrypt is asked for a certificate for it"},
		{"quote of an earlier line", "domain: relay.test\nabuse: \"me\nlisten: [\":443\"]\n",
			"relay.yaml:2: a quote opens here, and is not closed in this line\nhint: put the same quote at the end of the text"},
		{"URL for a domain", "domain: https://relay.test/\n",
			"relay.yaml:1: domain: \"https://relay.test/\" is no host name: ':' cannot be in it\nhint: only the name: relay.test"},
		{"domain without a dot", "domain: localhost\n",
			"relay.yaml:1: domain: \"localhost\" has no dot\nhint: the whole name of a domain of your own, as in \"relay.net\""},
		{"port alone", "domain: relay.test\nlisten:\n  - \"443\"\n  - \":99999\"\n",
			"relay.yaml:3: listen[0]: \"443\" is not host:port\nhint: did you mean \":443\"?\n" +
				"relay.yaml:4: listen[1]: \"99999\" is no port\nhint: a number from 1 to 65535"},
		{"the same address twice", "domain: relay.test\nhttp_listen: [\":443\"]\n",
			"relay.yaml:2: http_listen[0]: \":443\" is in listen[0] too\nhint: each needs a port of its own: change one of the two, or take it out"},
		{"names.* that are none", "domain: relay.test\nnames:\n  key_names: closed\n  reserved: [www, a.b, \"b c\"]\n  expire_unused: \"8760\"\n  certificates_per_week: many\n",
			"relay.yaml:3: names.key_names: \"closed\" is not open, token or off\n" +
				"relay.yaml:4: names.reserved[1]: \"a.b\" is not below relay.test\nhint: a label below relay.test, as in www or mail*\n" +
				"relay.yaml:4: names.reserved[2]: \"b c\" is no pattern of names\nhint: a label below relay.test, as in www or mail*\n" +
				"relay.yaml:5: names.expire_unused: \"8760\" has no unit\nhint: as in \"8760h\"\n" +
				"relay.yaml:6: names.certificates_per_week: \"many\" is no number from 0 to 1000000"},
		{"resolvers that are none", "domain: relay.test\nnames:\n  custom_domains: often\n  resolvers: [9.9.9.9, dns.example.com, \"9.9.9.9:0\"]\n",
			"relay.yaml:3: names.custom_domains must be true or false, it is text\nhint: true or false\n" +
				"relay.yaml:4: names.resolvers[1]: \"dns.example.com\" is no address of a DNS server\nhint: as in 9.9.9.9 or [2620:fe::fe]:53\n" +
				"relay.yaml:4: names.resolvers[2]: \"9.9.9.9:0\" is no address of a DNS server\nhint: as in 9.9.9.9 or [2620:fe::fe]:53"},
		{"too many resolvers", "domain: relay.test\nnames: {resolvers: [192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5]}\n",
			"relay.yaml:2: names.resolvers: 5 are too many\nhint: 4 at most: the next one is asked when one does not answer"},
		{"a time that is too short", "domain: relay.test\nnames: {expire_unused: 1h}\n",
			"relay.yaml:2: names.expire_unused: \"1h\" is not from 24h0m0s to 87600h0m0s"},
		{"a webhook without a key", "domain: relay.test\nnames: {webhook: {url: \"http://names.example.com/\"}}\n",
			"relay.yaml:2: names.webhook.secret_file: missing\nhint: the questions are signed, so that the server knows who asks: openssl rand -hex 32 > FILE\n" +
				"relay.yaml:2: names.webhook.url: \"http://names.example.com/\" is no https:// URL\nhint: as in https://names.example.com/decide, or http://127.0.0.1:8000/ on this machine"},
		{"a webhook with a password", "domain: relay.test\nnames: {webhook: {url: \"https://ada:secret@names.example.com/\"}}\n",
			"relay.yaml:2: names.webhook.secret_file: missing\nhint: the questions are signed, so that the server knows who asks: openssl rand -hex 32 > FILE\n" +
				"relay.yaml:2: names.webhook.url: has a user and a password\nhint: the questions are signed: take them out"},
		{"a key without a webhook", "domain: relay.test\nnames: {webhook: {secret_file: s}}\n",
			"relay.yaml:2: names.webhook.url: missing\nhint: names.webhook.secret_file signs questions to a server: say which, or take it out"},
		{"names of another zone", "domain: relay.test\nnames: {policy: token}\ntokens:\n- secret_file: s\n  names: [xyz, relay.test, \"*.example.com\", \"*\", notrelay.test]\n",
			"relay.yaml:5: tokens[0].names[0]: \"xyz\" has no dot\nhint: did you mean \"xyz.relay.test\"?\n" +
				"relay.yaml:5: tokens[0].names[1]: \"relay.test\" is the relay's own name\nhint: \"*.relay.test\" is all names below it\n" +
				"relay.yaml:5: tokens[0].names[2]: \"*.example.com\" is not below relay.test\nhint: did you mean \"*.relay.test\"?\n" +
				"relay.yaml:5: tokens[0].names[3]: \"*\" is no host name: '*' cannot be in it\nhint: as in xyz.relay.test or *.team.relay.test\n" +
				"relay.yaml:5: tokens[0].names[4]: \"notrelay.test\" is not below relay.test\nhint: a name below relay.test, as in \"xyz.relay.test\""},
		{"names of the documents", "domain: relay.test\nnames: {policy: token}\ntokens:\n- secret_file: s\n  names: [\"*.team.relay.net\", a.b.relay.net.]\n",
			"relay.yaml:5: tokens[0].names[0]: \"*.team.relay.net\" is not below relay.test\nhint: did you mean \"*.team.relay.test\"?\n" +
				"relay.yaml:5: tokens[0].names[1]: \"a.b.relay.net.\" is not below relay.test\nhint: did you mean \"a.b.relay.test\"?"},
		{"a token that can be guessed", "domain: relay.test\nnames: {policy: token}\ntokens:\n- {secret_file: short, names: [a.relay.test]}\n",
			"relay.yaml:4: tokens[0].secret_file: a token of 3 bytes can be guessed: 8 at least\nhint: write a longer one, and give it to those who use it: openssl rand -hex 24 > short"},
		{"token without anything", "domain: relay.test\nnames: {policy: token}\ntokens: [{}]\n",
			"relay.yaml:3: tokens[0].secret_file: missing\nhint: the file that holds the token, one line\n" +
				"relay.yaml:3: tokens[0].names: missing: a token without names is good for nothing\nhint: names: [\"*.relay.test\"] for all names"},
		{"secrets", "domain: relay.test\nnames: {policy: token}\ntokens:\n" +
			"- {secret_file: absent, names: [a.relay.test]}\n- {secret_file: empty, names: [a.relay.test]}\n- {secret_file: lines, names: [a.relay.test]}\n" +
			"- {secret_file: long, names: [a.relay.test]}\n- {secret_file: s, names: [a.relay.test]}\n- {secret_file: s, names: [b.relay.test]}\n- {secret_file: ., names: [a.relay.test]}\n",
			"relay.yaml:4: tokens[0].secret_file: cannot read \"absent\": no such file or directory\nhint: check the path DIR/absent\n" +
				"relay.yaml:5: tokens[1].secret_file: cannot read \"empty\": the file is empty\nhint: write the secret alone into the file, on one line, such as the output of openssl rand -hex 24\n" +
				"relay.yaml:6: tokens[2].secret_file: cannot read \"lines\": a secret is one line of text\nhint: write the secret alone into the file, on one line, such as the output of openssl rand -hex 24\n" +
				"relay.yaml:7: tokens[3].secret_file: cannot read \"long\": a secret has at most 1024 bytes\nhint: write the secret alone into the file, on one line, such as the output of openssl rand -hex 24\n" +
				"relay.yaml:9: tokens[5].secret_file: the same secret as tokens[4] has\nhint: list all the names in one of them\n" +
				"relay.yaml:10: tokens[6].secret_file: cannot read \".\": is a directory\nhint: . is a folder: name a file in it"},
		{"CA and account", "domain: relay.test\nacme:\n  ca: http://ca.test/dir\n  ca_root: absent\n  email: me\n  eab:\n    kid: k\n    hmac: \"a!b\"\n",
			"relay.yaml:3: acme.ca: \"http://ca.test/dir\" is no https:// URL\nhint: as in https://acme-v02.api.letsencrypt.org/directory\n" +
				"relay.yaml:4: acme.ca_root: cannot read \"absent\": no such file or directory\nhint: check the path DIR/absent\n" +
				"relay.yaml:5: acme.email: \"me\" is no mail address\nhint: as in ops@relay.net\n" +
				"relay.yaml:8: acme.eab.hmac: the key is not base64 text\nhint: copy it as the CA shows it"},
		{"half a binding", "domain: relay.test\nacme: {eab: {hmac: YQ}}\n",
			"relay.yaml:2: acme.eab.kid: missing\nhint: the CA gives out both, the key id and the key"},
		{"half a certificate", "domain: relay.test\ntls: {cert_file: s}\n",
			"relay.yaml:2: tls.key_file: missing\nhint: tls.cert_file needs the private key of its certificate"},
		{"two certificates", "domain: relay.test\nacme: {email: me@relay.test}\ntls: {cert_file: s, key_file: .}\n",
			"relay.yaml:3: tls.cert_file: acme is set too\nhint: a certificate comes from acme or from files: take one of them out\n" +
				"relay.yaml:3: tls.key_file: cannot read \".\": it is a folder\nhint: . is a folder: name a file in it"},
		{"log", "domain: relay.test\nlog: {level: warning, format: jsno}\n",
			"relay.yaml:2: log.level: \"warning\" is not debug, info, warn or error\n" +
				"relay.yaml:2: log.format: \"jsno\" is not text or json\nhint: did you mean \"json\"?"},
		{"abuse", "domain: relay.test\nabuse: javascript:alert(1)\n",
			"relay.yaml:2: abuse: \"javascript:alert(1)\" is no mail address, mailto: or https:// URL\nhint: as in abuse@relay.net"},
		{"servers of one's own", "domain: relay.test\nstatic:\n  - {name: mail, to: \"127.0.0.1:8443\"}\n  - {name: relay.test, to: \"8443\"}\n  - {name: \"*.relay.test\", to: \"localhost:443\"}\n" +
			"  - {name: www.example.com, proxy_protocol: 3}\n  - {name: WWW.example.com., to: \"127.0.0.1:8443\", http: \"127.0.0.1:80\"}\nfallback: {http: \"127.0.0.1:8080\"}\n",
			"relay.yaml:3: static[0].name: \"mail\" has no dot\nhint: did you mean \"mail.relay.test\"?\n" +
				"relay.yaml:4: static[1].name: \"relay.test\" is the relay's own name\nhint: a name of its own, as in www.relay.test\n" +
				"relay.yaml:4: static[1].to: \"8443\" is not host:port\nhint: as in 192.0.2.1:443\n" +
				"relay.yaml:5: static[2].name: \"*.relay.test\" is all that this relay gives out\nhint: name those that are your own, as in mail.relay.test\n" +
				"relay.yaml:5: static[2].to: \"localhost:443\" is this relay itself, which listens on :443\nhint: a server has a port of its own, as in 127.0.0.1:8443\n" +
				"relay.yaml:6: static[3].to: missing\nhint: the server behind the name, as in 127.0.0.1:8443\n" +
				"relay.yaml:6: static[3].proxy_protocol: \"3\" is no version of the PROXY protocol\nhint: 1, 2, or 0 for none\n" +
				"relay.yaml:7: static[4].name: \"www.example.com\" is the name of static[3] too\nhint: a name leads to one server: take one of the two out\n" +
				"relay.yaml:7: static[4].http: \"127.0.0.1:80\" is this relay itself, which listens on :80\nhint: a server has a port of its own, as in 127.0.0.1:8443\n" +
				"relay.yaml:8: fallback.to: missing\nhint: fallback.http is the same server's plain HTTP: say where its TLS is, as in 127.0.0.1:8443"},
		{"proxies", "domain: relay.test\nproxy_protocol: {from: [192.0.2.1, 10.0.0.0/8, \"::/0\", lb.example.com]}\n",
			"relay.yaml:2: proxy_protocol.from[2]: \"::/0\" is everybody, who could say to be anybody\nhint: the addresses of the proxies alone, as in 192.0.2.10 or 10.0.0.0/24\n" +
				"relay.yaml:2: proxy_protocol.from[3]: \"lb.example.com\" is no address and no range\nhint: as in 192.0.2.1 or 10.0.0.0/8"},
		{"siblings", "domain: relay.test\nproxy_protocol: {from: [192.0.2.1]}\nsiblings:\n  - {from: [192.0.2.7]}\n  - {name: relay.test, from: []}\n  - {name: a.test, dial: a.test, from: [0.0.0.0/0, 192.0.2.1]}\n" +
			"  - {name: A.test., from: [192.0.2.0/28]}\n",
			"relay.yaml:4: siblings[0].name: missing\nhint: the domain of the relay there, as in relay.example.org\n" +
				"relay.yaml:5: siblings[1].name: \"relay.test\" is this relay itself\nhint: the name of another one\n" +
				"relay.yaml:5: siblings[1].from: missing\nhint: the addresses that it dials from, as in [192.0.2.10]; its operator knows them\n" +
				"relay.yaml:6: siblings[2].dial: \"a.test\" is not host:port\nhint: did you mean \"a.test:443\"?\n" +
				"relay.yaml:6: siblings[2].from[0]: \"0.0.0.0/0\" is everybody, who could say to be anybody\nhint: the addresses of the sibling alone, as in 192.0.2.10\n" +
				"relay.yaml:6: siblings[2].from[1]: \"192.0.2.1\" is in proxy_protocol.from too, as 192.0.2.1/32\nhint: an address is that of a proxy of your own, or of a sibling\n" +
				"relay.yaml:7: siblings[3].name: \"A.test.\" is the name of siblings[2] too\nhint: take one of the two out\n" +
				"relay.yaml:7: siblings[3].from[0]: \"192.0.2.0/28\" is in proxy_protocol.from too, as 192.0.2.1/32\nhint: an address is that of a proxy of your own, or of a sibling\n" +
				"relay.yaml:7: siblings[3].from[0]: \"192.0.2.0/28\" is in siblings[0].from too, as 192.0.2.7/32\nhint: each sibling has addresses of its own\n" +
				"relay.yaml:7: siblings[3].from[0]: \"192.0.2.0/28\" is in siblings[2].from too, as 192.0.2.1/32\nhint: each sibling has addresses of its own"},
		{"all at once, by line", "abuse: x\nlisten: y\ndomain: a_b.net\nzzz: 1\n",
			"relay.yaml:1: abuse: \"x\" is no mail address, mailto: or https:// URL\nhint: as in abuse@relay.net\n" +
				"relay.yaml:2: listen must be a list, it is text\nhint: put it in brackets: [\"y\"]\n" +
				"relay.yaml:3: domain: \"a_b.net\" is no host name: '_' cannot be in it\nhint: did you mean \"a-b.net\"?\n" +
				"relay.yaml:4: unknown key \"zzz\"\nhint: known here: domain, listen, http_listen, state_dir, names, tokens, limits, acme, tls, admin, metrics, site, proxy_protocol, static, fallback, siblings, tcp_ports, cluster, log, drain_timeout, takeover_drain, reload, default_name, memory, lanes, abuse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, map[string]string{
				"relay.yaml": tt.file, "s": "a secret that is long enough\n", "short": "abc\n", "empty": " \n", "lines": "a\nb\n", "long": strings.Repeat("x", config.MaxSecret+1),
			})
			_, _, err := loadRelay(t, "--config", "relay.yaml")
			wantText(t, err, tt.want)
		})
	}
}

func TestWrongFlagsAndVariables(t *testing.T) {
	tests := []struct {
		name  string
		env   []string
		flags []string
		want  string
	}{
		{"flag", nil, []string{"--domain", "relay.test", "--log-level", "inof", "--listen", "443"},
			"--listen: \"443\" is not host:port\nhint: did you mean \":443\"?\n--log-level: \"inof\" is not debug, info, warn or error\nhint: did you mean \"info\"?"},
		{"variable", []string{"KEYSTAY_RELAY_DOMAIN=relay.test", "KEYSTAY_RELAY_LOG_LEVEL=inof"}, nil,
			"KEYSTAY_RELAY_LOG_LEVEL: \"inof\" is not debug, info, warn or error\nhint: did you mean \"info\"?"},
		{"no switch", []string{"KEYSTAY_RELAY_NAMES_CUSTOM_DOMAINS=perhaps"}, []string{"--domain", "relay.test"},
			"KEYSTAY_RELAY_NAMES_CUSTOM_DOMAINS: \"perhaps\" is neither true nor false"},
		{"unknown variable", []string{"KEYSTAY_RELAY_LOG_LEVLE=info"}, []string{"--domain", "relay.test"},
			"KEYSTAY_RELAY_LOG_LEVLE: unknown variable\nhint: did you mean KEYSTAY_RELAY_LOG_LEVEL?"},
		{"unknown even if empty", []string{"KEYSTAY_RELAY_COLOUR="}, []string{"--domain", "relay.test"},
			"KEYSTAY_RELAY_COLOUR: unknown variable\nhint: see --help, or unset it"},
		{"a table in a variable", []string{"KEYSTAY_RELAY_TOKENS=x"}, []string{"--domain", "relay.test"},
			"KEYSTAY_RELAY_TOKENS: unknown variable\nhint: this can be set in the file only"},
		{"no Kubernetes here", []string{"KEYSTAY_RELAY_PORT=443"}, []string{"--domain", "relay.test"},
			"KEYSTAY_RELAY_PORT: unknown variable\nhint: see --help, or unset it"},
		{"nothing said", nil, nil,
			"--domain: missing\nhint: the relay's own name, as in domain: relay.net or --domain relay.net"},
		{"no such file", []string{"KEYSTAY_RELAY_CONFIG=absent.yaml"}, nil,
			"absent.yaml: cannot read the file: no such file or directory\nhint: check the path DIR/absent.yaml"},
		{"a folder", nil, []string{"--config", "."},
			".: cannot read the file: is a directory\nhint: . is a folder: name a file in it"},
		{"a flag twice", nil, []string{"--domain", "a.test.net", "--domain", "b.test.net", "--state-dir", "x", "--state-dir", "x"},
			"--domain: given 2 times\nhint: give it once\n--state-dir: given 2 times\nhint: give it once"},
		{"empty name", []string{"KEYSTAY_RELAY_CONFIG=relay.yaml"}, []string{"--config", "", "--domain", "relay.test"},
			"--config: the name of the file is empty"},
		{"file first, then the rest", []string{"KEYSTAY_RELAY_COLOUR=1"}, []string{"--config", "relay.yaml", "--log-level", "x"},
			"relay.yaml:2: unknown key \"x\"\nhint: known here: domain, listen, http_listen, state_dir, names, tokens, limits, acme, tls, admin, metrics, site, proxy_protocol, static, fallback, siblings, tcp_ports, cluster, log, drain_timeout, takeover_drain, reload, default_name, memory, lanes, abuse\n" +
				"KEYSTAY_RELAY_COLOUR: unknown variable\nhint: see --help, or unset it\n--log-level: \"x\" is not debug, info, warn or error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inFolder(t, map[string]string{"relay.yaml": "domain: relay.test\nx: 1\n"})
			env(t, tt.env...)
			_, _, err := loadRelay(t, tt.flags...)
			wantText(t, err, tt.want)
		})
	}
}

// A file that is something else altogether ends in a few errors, each short,
// and takes no time.
func TestManyErrorsAreCutShort(t *testing.T) {
	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	inFolder(t, map[string]string{"relay.yaml": b.String()})
	_, _, err := loadRelay(t, "--config", "relay.yaml")
	text := err.Error()
	if n := strings.Count(text, "unknown key"); n != 50 {
		t.Errorf("%d errors shown, not 50", n)
	}
	if !strings.HasSuffix(text, "and 1951 more problems") {
		t.Errorf("ends in %q", text[len(text)-60:])
	}
	if err := os.WriteFile("relay.yaml", []byte("domain: "+strings.Repeat("x", 1<<16)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err = loadRelay(t, "--config", "relay.yaml"); len(err.Error()) > 300 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
