package config

import "slices"

// serviceKeys are the keys of services, in the order of the commented file.
func serviceKeys() []Key {
	const s = "services[]."
	return slices.Concat([]Key{
		{Name: "services", Kind: Table, Help: "what is published, each under names of its own; without it, flags say that"},
		{Name: s + "domain", Kind: Texts, Flag: "domain", Help: "the public `NAME`, or several; by default one made from the device's key below --relay, or without that the last one served"},
		{Name: s + "domains", Kind: Texts, Help: "another word for domain"},
		{Name: s + "name", Kind: Texts, Flag: "name", Help: "a name made from the device's key and this `WORD`, another for each word, or several; beside those of --domain"},
		{Name: s + "names", Kind: Texts, Help: "another word for name"},
		{Name: s + "relay", Kind: Texts, Help: "the relays of these names alone"},
		{Name: s + "relay_address", Kind: Texts, Help: "what to dial for them, as relay_address"},
		{Name: s + "local", Kind: Lines, Flag: "local", Help: "the local `SERVICE`: 3000, :3000, host:3000, http://…, https://…, https+insecure://…, h2c://…, unix:/path, tcp://host:port, tls://host:port, a folder (./x or /x), redirect:URL or text:…; also as the argument; one for all names, or as many as names, in their order, those of --domain first"},
		{Name: s + "routes", Kind: Table, Help: "where requests go by their paths, instead of local; the longest path counts"},
		{Name: s + "routes[].path", Help: "the path, as in /; one that ends with a slash is for all below it, another for itself alone"},
		{Name: s + "routes[].local", Kind: Number, Help: "the local service of this path, but no tcp:// or tls://"},
		{Name: s + "routes[].strip", Kind: Switch, Default: "false", Help: "take the path off before the service sees it"},
	}, routeKeys(s, "host-header"), routeKeys(s+"routes[].", ""), []Key{
		{Name: s + "alpn", Kind: Table, Help: "services for visitors who offer certain protocols in TLS; the others go to local or routes"},
		{Name: s + "alpn[].protocols", Kind: Texts, Help: "the protocols, as in mqtt; * is all visitors who offer none that is named, neither h2 nor http/1.1"},
		{Name: s + "alpn[].local", Kind: Number, Help: "the local service, tcp://host:port"},
		{Name: s + "tcp", Kind: Lines, Flag: "tcp", Help: "a local `SERVICE` behind a public TCP port of the relay, and not behind a name: 22 or host:22, another port for each; for protocols without a server name. The relay sees its bytes: only what encrypts by itself is private, as SSH does"},
		{Name: s + "tcp_port", Kind: Number, Help: "the number to ask the relay for; by default the service's own. The relay gives that one, or one that ends alike"},
		{Name: s + "proxy_protocol", Kind: Number, Help: "tell tcp:// and tls:// services who visits, by a PROXY protocol header of version 1 or 2"},
		{Name: s + "gates", Kind: Table, Help: "several gates, for several paths, instead of gate"},
	}, gateKeys(s+"gate.", true), gateKeys(s+"gates[].", false), []Key{
		{Name: s + "allow", Kind: Texts, Flag: "allow", Help: "let visitors in from this `RANGE` alone, such as 192.0.2.0/24, 2001:db8::/32 or one address; several are all let in; by default everybody"},
		{Name: s + "deny", Kind: Texts, Flag: "deny", Help: "let no visitor in from this `RANGE`; where --allow has the address too, the smaller range counts; the CA's validations always pass, but not to tls://"},
		{Name: s + "cert", Flag: "cert", Help: "PEM `FILE` with a certificate to use instead of ACME"},
		{Name: s + "key", Flag: "key", Help: "PEM `FILE` with its private key"},
	})
}

// routeKeys are what can be said of where requests go, below at.
func routeKeys(at, hostFlag string) []Key {
	return []Key{
		{Name: at + "listing", Kind: Switch, Default: "false", Help: "show a list of a folder's files where it has no index.html"},
		{Name: at + "spa", Kind: Switch, Default: "false", Help: "answer what a folder does not have with its index.html, for an app that runs in the browser"},
		{Name: at + "host_header", Flag: hostFlag, Default: "keep", Help: "the Host that the service sees: `HOST` keep is the visitor's, target the one of --local, else a name of your choice, for services that refuse foreign ones"},
		{Name: at + "headers.request.set", Kind: Pairs, Help: "headers that each request gets, as in {X-From: keystay}"},
		{Name: at + "headers.request.remove", Kind: Texts, Help: "headers that are taken out of each request"},
		{Name: at + "headers.response.set", Kind: Pairs, Help: "headers that each answer gets"},
		{Name: at + "headers.response.remove", Kind: Texts, Help: "headers that are taken out of each answer"},
		{Name: at + "timeouts.connect", Help: "how long a connection to the service may take, as in 10s, at most 1h; empty is the default"},
		{Name: at + "timeouts.answer", Help: "how long the service's answer may take to begin, as in 1m, at most 24h; empty is for ever"},
		{Name: at + "health.path", Help: "the path that is asked for to know whether the service is up, as in /healthz; empty is off"},
		{Name: at + "health.every", Default: "10s", Help: "how often it is asked for, from 1s to 1h"},
	}
}

// gateKeys are what a gate can be, below at.
func gateKeys(at string, flags bool) []Key {
	keys := []Key{
		{Name: at + "password_file", Help: "a `FILE` of the users who may come in, with bcrypt hashes of their passwords, as htpasswd -B writes it"},
		{Name: at + "passwords", Kind: Lines, Help: "`USER:HASH` of somebody who may come in; remote password USER makes it"},
		{Name: at + "links", Kind: Switch, Default: "false", Help: "let in whoever has a link of remote share"},
		{Name: at + "addresses", Kind: Texts, Help: "the ranges of addresses from which alone visitors may come"},
		{Name: at + "trusted_addresses", Kind: Texts, Help: "the ranges of addresses from which visitors need not sign in"},
		{Name: at + "client_ca", Help: "PEM file of the CAs whose client certificates let in"},
		{Name: at + "oidc.issuer", Help: "the https URL of an OpenID Connect provider to sign in with"},
		{Name: at + "oidc.client_id", Help: "what the provider calls this client"},
		{Name: at + "oidc.client_secret_file", Help: "the file with the client's secret, one line"},
		{Name: at + "oidc.groups", Kind: Texts, Help: "let in members of these groups"},
		{Name: at + "oidc.emails", Kind: Texts, Help: "let in these addresses; @example.com is all of that domain, and * all users"},
		{Name: at + "oidc.scopes", Kind: Texts, Help: "scopes to ask for beside openid, email and profile"},
		{Name: at + "paths", Kind: Texts, Help: "the paths that it is for, each with all below it; empty is all"},
		{Name: at + "header", Kind: Switch, Default: "false", Help: "hand the user's name on to the service in X-Forwarded-User"},
	}
	if flags {
		keys[0].Flag, keys[1].Flag = "auth-file", "auth"
	}
	return keys
}
