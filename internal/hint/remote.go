package hint

import "slices"

// Remote returns the table of docs/running-a-remote.md, in its order.
func Remote() []*Advice {
	return append([]*Advice{
		NoRelayGiven, NoNameAbove, WhichName,
		RelayHasNoAddress, AddressHasNoAddress, NoResolver, ResolverAway, NothingListens, NothingAnswers, Offline,
		UntrustedRelay, NoIntermediate, OtherRoot, RelayExpired, RelayNotYetValid, OtherRelay, OtherName, NotTLS, NotRelay, Silent, NoRelayCertificate, NoWebSocket, PathBreaks, SmallHello,
		ProxySignIn, ProxyWrongUser, ProxyOtherSignIn, ProxyForbids, ProxyIsNone, ProxyPortal, ProxyCannotReach, ProxyHangsUp, ProxyEnds, ProxyKind, ProxyAway, ProxyUntrusted, ProxySOCKS, ProxyVariable, ProxyNamed,
		SlowAfterPause,
		ProofFails, OtherVersion,
		NameTaken, NotBelow, TokenWanted, TokenWrong, TokenWithheld, NoNewNames, NoMoreNames, HandoverWaits, NoTCPPorts, NoNewPorts, NoMorePorts, RelayUndecided, Banned, Replaced, Released, NoRelease, NotHeld, NoIdentity, BadToken, TokenArgument, NoTokenGiven, PasswordArgument, CertificateWaits, NameNotEverywhere, RulesUnkept, URLMoved, RecordsMissing, NoDNSServers, DNSFails, ForeignKey, Intercepted, AlarmProgram, NotProbed, NoPeer, NotLookedUp, NotVerified, NotPinned,
		CTForeign, CTOld, CTBlind,
		DoctorFails, DoctorClock, DoctorFamily, DoctorNodes, DoctorPolicy, DoctorManyNames, DoctorNameElsewhere, DoctorNoVisitors, DoctorRenewal, DoctorForbidden, DoctorOtherCA, DoctorOperator,
		NoRemoteHere, NotYourRemote, SeveralRun, NoRunSocket, NoInspector, NoMetrics,
		NoServiceManager, ServiceWantsRoot, ServiceThere, ServiceOfPackage, ServiceMissing, ServiceStateElsewhere, ServiceStateForeign, ServiceFlagsInFile, ServiceProxy, ServiceLinger,
		ContainerWrong, ContainerTwice, EngineAway,
		ServedHere, ReplicaHere, RemoteState, StateObstacle, BadIdentity, NewIdentity, BadRun, ServedDamaged,
		NoIdentityHere, IdentityThere, ImportInUse, NotAnExport, ExportPassphrase, ExportExists, NoPassphrase, KeyNamesEnd, NamesUnkept, TooManyHandovers, HandoversLarge, HandoversDamaged, KeyNameRuns,
		ServiceStopped, ServiceNoSocket, ServiceNotSocket, ServiceSocketClosed, ServiceSilent, ServiceUnknownHost,
		ServiceUntrusted, ServiceHandshake, ServiceIsPlain, ServiceIsTLS, ServiceIsH2C, ServiceIsNotH2C, ServiceOther, ServiceHangsUp, ServiceBroken, ServiceLate, ServiceUnwell,
		ServiceCertificate, FolderMissing, FolderIsFile, FolderClosed, FolderFileClosed, FolderLink, FolderState, FolderSecret, TooManyVisitors,
		GateNotHash, GateNoUsers, OnePassword, ShareNoName, ShareWhichName, ShareNoState, GateKey, GateManyLinks, GateNotCA, GateEveryUser, GateProvider,
	}, slices.Concat(connects(), homes(), lists())...)
}

// SlowAfterPause is the advice for a system whose connections begin anew with a small
// window once they have been idle.
var SlowAfterPause = &Advice{
	Shown: "after a pause this system sends little at once",
	Means: "`remote check`: over a long way the first large answer after a pause takes some round trips more",
	Do: []string{"let connections keep their window: net.ipv4.tcp_slow_start_after_idle=0 in /etc/sysctl.d, or net.ipv4.tcp_congestion_control=bbr",
		"the remote then sends 0.5 MB once on each long link, see docs/running-a-remote.md"},
}

// The advice for a relay that cannot be reached.
var (
	NoRelayGiven = &Advice{
		Shown: "no relay given",
		Means: "no `--domain`, no `--relay`, and none remembered",
		Do:    []string{"name the relay: --relay relay.net", "or a name below one: --domain xyz.relay.net"},
	}
	NoNameAbove = &Advice{
		Shown: "…: no name above it can be a relay",
		Means: "the name is the relay's own, or its parent is a public suffix",
		Do:    []string{"if NAME is the relay itself, choose a name below it: --domain xyz.NAME", "else name the relay: --relay relay.net"},
	}
	WhichName = &Advice{
		Shown: "no name given, and several were served from here before: …",
		Means: "and none of them with this local service",
		Do:    []string{"name the one that is meant: --domain NAME"},
	}
	RelayHasNoAddress = &Advice{
		Shown: "reach relay …: … no such host",
		Do:    []string{"the name of the relay has no address: check it, and this device's DNS"},
	}
	AddressHasNoAddress = &Advice{
		Shown: "reach relay …: … no such host",
		Means: "the name in `--relay-address`",
		Do:    []string{"the host HOST of --relay-address has no address: check it, or leave --relay-address out to look the relay's own name up"},
	}
	NoResolver = &Advice{
		Shown: "reach relay …: … lookup … on 127.0.0.1:53: …",
		Means: "nothing says which DNS server to ask",
		Do:    []string{"FILE names no DNS server: add a line with one to it, such as nameserver 9.9.9.9", "where that file cannot be written, as on Android, name the server here: --dns 9.9.9.9"},
	}
	ResolverAway = &Advice{
		Shown: "reach relay …: … lookup …: i/o timeout",
		Means: "also `server misbehaving`",
		Do:    []string{"the DNS server does not answer as it should: is this device online? another server can be named: --dns 9.9.9.9; where --dns has named this one, check its address, or leave --dns out"},
	}
	NothingListens = &Advice{
		Shown: "reach relay …: … connection refused",
		Do:    []string{"nothing listens there: is the relay running, and is the port right?"},
	}
	NothingAnswers = &Advice{
		Shown: "reach relay …: … i/o timeout",
		Do:    []string{"nothing answers there: is the relay's host up, and does its firewall let the port through?"},
	}
	Offline = &Advice{
		Shown: "reach relay …: … network is unreachable",
		Do:    []string{"no way leads there from here: is this device online?"},
	}
	UntrustedRelay = &Advice{
		Shown: "reach relay …: … certificate signed by unknown authority",
		Means: "the relay has a CA of its own, or something on the way ends TLS",
		Do: []string{"the relay's certificate is from a CA that this device does not trust",
			"if the relay has a CA of its own, give its root with --relay-root FILE",
			"else something between this device and the relay ends TLS, such as a company's proxy or a virus scanner: use another network or turn it off"},
	}
	NoIntermediate = &Advice{
		Shown: "reach relay …: … certificate signed by unknown authority",
		Means: "the relay sends one certificate alone",
		Do: []string{"if the relay has a CA of its own, give its root with --relay-root FILE",
			"the relay sends its certificate without the intermediate: it was issued by ISSUER; if that is an intermediate of a known CA, the relay's operator has to put the whole chain into tls.cert_file",
			"else something between this device and the relay ends TLS, such as a company's proxy or a virus scanner: use another network or turn it off"},
	}
	OtherRoot = &Advice{
		Shown: "reach relay …: … certificate signed by unknown authority",
		Means: "with `--relay-root`",
		Do: []string{"the relay's certificate is not from a root in the file of --relay-root: it was issued by ISSUER; give the root of that CA, or leave --relay-root out for a relay with a certificate of a known CA",
			"if the root is the right one, the relay sends its certificate without the intermediate: its operator has to put the whole chain into tls.cert_file",
			"else something between this device and the relay ends TLS, such as a company's proxy or a virus scanner: use another network or turn it off"},
	}
	RelayExpired = &Advice{
		Shown: "reach relay …: … certificate has expired or is not yet valid: current time … is after …",
		Do:    []string{"the relay's certificate has expired on DATE: its operator has to renew it", "unless this device's clock is wrong, which says NOW"},
	}
	RelayNotYetValid = &Advice{
		Shown: "reach relay …: … certificate has expired or is not yet valid: current time … is before …",
		Do:    []string{"this device's clock says NOW, and the relay's certificate is not valid before DATE: set the clock", "if the clock is right, ask the relay's operator"},
	}
	OtherName = &Advice{
		Shown: "reach relay …: it answers, but under another name: … unrecognized name",
		Do:    []string{"a TLS server answers there that does not know this name: check --relay and --relay-address"},
	}
	NotTLS = &Advice{
		Shown: "reach relay …: … first record does not look like a TLS handshake",
		Do:    []string{"what answers there speaks no TLS: check the relay's port, and --relay-address"},
	}
	Silent = &Advice{
		Shown: "reach relay …: no answer to the TLS handshake …",
		Means: "also `no answer … within …`",
		Do:    []string{"something takes the connection there and does not answer: is it the relay's port? if it is, something on the path may swallow the handshake: try another network, or a proxy with --proxy URL"},
	}
	OtherRelay = &Advice{
		Shown: "reach relay …: … certificate is valid for …, not …",
		Do:    []string{"what answers there is not this relay: check --relay and --relay-address"},
	}
	NotRelay = &Advice{
		Shown: "reach relay …: … does not speak keystay/1",
		Do:    []string{"what answers there speaks TLS but is no keystay relay: check --relay"},
	}
	NoRelayCertificate = &Advice{
		Shown: "reach relay …: the relay has no certificate yet",
		Means: "it is tried again",
		Do:    []string{"it is about to get one, or cannot: its own log says which"},
	}
	NoWebSocket = &Advice{
		Shown: "… takes no link over a WebSocket",
		Do:    []string{"what answers there takes no link over a WebSocket: it is no keystay relay, or one too old, or something on the path answers in its place"},
	}
	PathBreaks = &Advice{
		Shown: "over TLS: …; over a WebSocket: …",
		Means: "neither way gets through",
		Do:    []string{"something on the path may break the connection: try another network, or a proxy with --proxy URL"},
	}
	SmallHello = &Advice{
		Shown: "the relay is reached with a smaller first message",
		Means: "the usual one was lost on the way",
		Do:    []string{"something on the path loses TLS handshakes whose first message does not fit into one packet: there is nothing to do here, but a router or firewall may want an update"},
	}
)

// The advice for a proxy on the way out.
var (
	ProxySignIn = &Advice{
		Shown: "proxy …: it answers CONNECT with 407",
		Means: "without a user and password",
		Do: []string{"the proxy wants a user and password: --proxy http://USER:PASSWORD@HOST:PORT",
			"what is no letter or digit in them is written as in a URL: %40 for @"},
	}
	ProxyWrongUser = &Advice{
		Shown: "proxy …: it answers CONNECT with 407 …, to the user and password that it was given",
		Do: []string{"the proxy wants a user and password, or others than it was given: those in its URL were refused",
			"what is no letter or digit in them is written as in a URL: %40 for @"},
	}
	ProxyOtherSignIn = &Advice{
		Shown: "proxy …: it answers CONNECT with 407",
		Means: "and takes no user and password",
		Do: []string{"this proxy wants a way of signing in other than user and password, which is not supported",
			"a local proxy that signs in to it, such as cntlm or px, can stand in between"},
	}
	ProxyForbids = &Advice{
		Shown: "proxy …: it answers CONNECT with 403",
		Do:    []string{"the proxy forbids this host or port: most allow port 443 alone; ask whoever runs it"},
	}
	ProxyIsNone = &Advice{
		Shown: "proxy …: it answers CONNECT with 400, 404, 405 or 501",
		Means: "also any other status from 400 to 499",
		Do:    []string{"what answers there passes no connections on: check the proxy's address and port"},
	}
	ProxyPortal = &Advice{
		Shown: "proxy …: it answers CONNECT with 302",
		Means: "also any other status from 300 to 399",
		Do: []string{"what answers there sends elsewhere, such as to a page to sign in at: open a page in a browser on this network first",
			"else it is no proxy: check its address and port"},
	}
	ProxyHangsUp = &Advice{
		Shown: "proxy …: it has ended the connection without an answer",
		Means: "also `… in the middle of its answer`, `it has reset the connection`",
		Do:    []string{"check the proxy's address, port and kind, and whether it lets this device in and the relay's host and port through: most allow port 443 alone"},
	}
	ProxyEnds = &Advice{
		Shown: "reach relay …: through the proxy …: …",
		Means: "the proxy has given a connection, and then it ends, stays silent or speaks no TLS",
		Do: []string{"the proxy said yes and then did not carry TLS to the relay: is it a proxy, and does it let this relay through, unopened? ask whoever runs it",
			"or go without it: --proxy none"},
	}
	ProxyCannotReach = &Advice{
		Shown: "proxy …: it answers CONNECT with 502, 503 or 504",
		Do:    []string{"the proxy cannot reach the relay: check the relay's name; if it is right, ask whoever runs the proxy"},
	}
	ProxyKind = &Advice{
		Shown: "proxy …: what answers there is no HTTP proxy",
		Do:    []string{"check the proxy's port and its kind: http, https or socks5"},
	}
	ProxyAway = &Advice{
		Shown: "proxy …: dial …",
		Do:    []string{"the proxy cannot be reached: check its address, or go without: --proxy none"},
	}
	ProxyUntrusted = &Advice{
		Shown: "proxy https://…: tls: failed to verify certificate",
		Do:    []string{"the certificate of an https:// proxy must be one that this system trusts: add the root of its CA to the system's, or use its http:// port"},
	}
	ProxyVariable = &Advice{
		Shown: "HTTPS_PROXY: …, ALL_PROXY: …",
		Means: "exit code 2",
		Do:    []string{"this variable names the proxy: set it right, or unset it; the remote can also go without it: --proxy none"},
	}
	ProxyNamed = &Advice{
		Shown: "proxy …, which HTTPS_PROXY names: …",
		Means: "also `ALL_PROXY`; beside what the rest of the message asks for",
		Do:    []string{"the proxy is from the variable VARIABLE: set it right, or unset it"},
	}
	ProxySOCKS = &Advice{
		Shown: "proxy socks5://…: …",
		Do:    []string{"if the proxy wants a user and password: --proxy socks5://USER:PASSWORD@HOST:PORT"},
	}
)

// The advice for a relay that refuses a remote, or a name.
var (
	ProofFails = &Advice{
		Shown: "the proof of identity does not fit this connection",
		Do:    []string{"something between this device and the relay ends TLS, such as a company's proxy: use another network"},
	}
	OtherVersion = &Advice{
		Shown: "… speaks another version of the protocol",
		Do:    []string{"update this program, or ask the relay's operator to"},
	}
	NameTaken = &Advice{
		Shown: "it belongs to another device",
		Means: "also `this label is made from another device's key` and `a name below it belongs to another device`",
		Do: []string{"choose another name with --domain",
			"if the name is yours, start with the state directory of the device that took it: --state-dir DIR"},
	}
	NotBelow = &Advice{
		Shown: "not a name below …",
		Do:    []string{"choose a name below the relay's own, such as xyz.relay.net at relay.net; this relay gives out no domains of one's own, or this one is its own or above it"},
	}
	TokenWanted = &Advice{
		Shown: "this relay asks for a token",
		Means: "also `this name is reserved: it takes a token …`, as for `www`",
		Do: []string{"ask the relay's operator for a token, and give it with --token-file FILE, or keep it here with remote login RELAY",
			"a name made from this device's key needs none: leave out --domain and give --relay"},
	}
	TokenWrong = &Advice{
		Shown: "the token is not valid for this name",
		Means: "a token was given; also `the token has expired` and the like",
		Do:    []string{"the token that was given does not open this name: check it for slips, or ask the relay's operator which names it is for, and until when"},
	}
	TokenWithheld = &Advice{
		Shown: "… the token was not sent to …, which was found and not named",
		Do:    []string{"if that is the relay whose operator gave you the token, name it: --relay RELAY"},
	}
	NoNewNames = &Advice{
		Shown: "this relay gives out no new names",
		Means: "policy `closed`",
		Do:    []string{"a name made from this device's key needs no permission: leave out --domain and give --relay"},
	}
	NoMoreNames = &Advice{
		Shown: "a device may hold … names here",
		Means: "also `this relay has given out all its names`; it is tried again",
		Do:    []string{"a name made from this device's key counts for none: leave out --domain and give --relay", "else ask the relay's operator, or choose another relay"},
	}
	HandoverWaits = &Advice{
		Shown: "this relay has taken as many hand-overs as it remembers",
		Means: "after `remote identity rotate`; also `too many new names and hand-overs come from this network`; it is tried again",
		Do:    []string{"the new key's hand-over is shown to this relay until it takes it: remote identity show says which relays have not heard of it, and there the old key is still good", "until then the name is up only on links from before, of which none that is lost comes back"},
	}
	NoTCPPorts = &Advice{
		Shown: "tcp:…: this relay gives out no TCP ports",
		Means: "or it is too old to",
		Do: []string{"ask the relay's operator for them (tcp_ports in relay.yaml), or choose another relay",
			"a service whose visitors can speak TLS needs none: remote --local tcp://HOST:PORT gives it a name, and the relay sees none of its bytes; remote connect brings SSH there"},
	}
	NoNewPorts = &Advice{
		Shown: "tcp:…: this relay asks for a token",
		Means: "of a TCP port; also `this relay gives out no new names`",
		Do:    []string{"ask the relay's operator for a token, and give it with --token-file FILE, or keep it here with remote login RELAY: any that is valid admits a port"},
	}
	NoMorePorts = &Advice{
		Shown: "this relay has given out all its TCP ports",
		Means: "also `a device may hold … TCP ports here`; it is tried again",
		Do:    []string{"ask the relay's operator for more (tcp_ports, limits.identity.ports), or choose another relay"},
	}
	RelayUndecided = &Advice{
		Shown: "the relay could not decide now",
		Means: "it is tried again",
		Do:    []string{"the relay has trouble of its own, such as a disk that is full or a record that is damaged: its operator finds the reason in its log"},
	}
	Banned = &Advice{
		Shown: "… refused by the relay",
		Do:    []string{"ask the relay's operator"},
	}
	Replaced = &Advice{
		Shown: "a newer run of this device has taken the name over",
		Means: "a copy of the state directory runs somewhere",
		Do: []string{"two runs of one identity cannot serve the same name: stop one of them",
			"if another device has a copy of this state directory, give each its own"},
	}
)

// The advice for a name that is given back, that is not for everybody, or whose
// certificate has to wait.
var (
	Released = &Advice{
		Shown: "this device has given the name back",
		Means: "`remote release` was run with its state directory",
		Do:    []string{"to have the name again, start the remote anew: the relay keeps it for this device for a while"},
	}
	NoRelease = &Advice{
		Shown: "release …: the relay is too old to be told that a name is given back",
		Do:    []string{"leave the name alone: the relay gives it to others once it has not been used for long; or ask its operator"},
	}
	NotHeld = &Advice{
		Shown: "this device does not hold the name",
		Means: "`remote release`",
		Do:    []string{"it may belong to another device: a name is given back with the state directory that holds it, --state-dir DIR"},
	}
	NoIdentity = &Advice{
		Shown: "release …: there is no identity in …",
		Means: "exit code 2",
		Do:    []string{"a name is given back with the state directory that it was served from: --state-dir DIR"},
	}
	TokenArgument = &Advice{
		Shown: "one argument too many behind the relay",
		Means: "`remote login`",
		Do:    []string{"a token is no argument, since other users of this machine can see those: it is asked for, or comes on standard input or with --token-file FILE"},
	}
	NoTokenGiven = &Advice{
		Shown: "the token: there is no secret",
		Means: "`remote login` has read nothing",
		Do:    []string{"give the token on standard input, or with --token-file FILE; on a terminal it is asked for"},
	}
	PasswordArgument = &Advice{
		Shown: "one argument too many behind the user",
		Means: "`remote password`",
		Do:    []string{"a password is no argument, since other users of this machine can see those: it is asked for, or comes on standard input"},
	}
	BadToken = &Advice{
		Shown: "the claim goes without a token",
		Means: "what `remote login` has kept cannot be read",
		Do:    []string{"keep it again with remote login, or remove FILE"},
	}
	CertificateWaits = &Advice{
		Shown: "a new certificate has to wait",
		Means: "a CA issues only so many new ones for the names of a relay in a week",
		Do: []string{"there is nothing to do but wait: it is ordered then, and renewals do not wait",
			"or name another CA that is asked meanwhile: --acme-ca https://acme-v02.api.letsencrypt.org/directory --acme-ca URL"},
	}
	NameNotEverywhere = &Advice{
		Shown: "nothing is ordered for …: of the addresses that DNS gives, … …",
		Means: "the dress rehearsal before an order: this device looked for itself at each address of the name; it is tried again",
		Do: []string{"a CA looks at all addresses of NAME, from several places: link this device to the relay at each of them too (--relay), or take the address out of the DNS",
			"if others do reach this device there, and only this machine does not, as behind a router that answers by itself: --acme-rehearsal off"},
	}
	RecordsMissing = &Advice{
		Shown: "… is not ready: …",
		Means: "`remote dns`, for a domain of one's own",
		Do:    []string{"set what is missing where the domain's DNS is kept, and run this again: what was asked before can be remembered by DNS servers for an hour"},
	}
	NoDNSServers = &Advice{
		Shown: "it is not known which DNS server to ask: …",
		Means: "`remote dns`, on a system without /etc/resolv.conf, such as Windows or Android",
		Do:    []string{"name one: --dns 9.9.9.9"},
	}
	DNSFails = &Advice{
		Shown: "the … records of …: the DNS server …",
		Means: "`remote dns`: this says nothing of the records",
		Do:    []string{"ask another DNS server: --dns 9.9.9.9", "where all say SERVFAIL, the servers of the domain are out of order, or its DNSSEC is"},
	}
	ForeignKey = &Advice{
		Shown: "…: the key is not the device's",
		Means: "`remote verify`: somebody between you and the device may read along, or the name is another device's by now",
		Do: []string{"do not use the name until its owner has said, by another way, which key it has; keep the output of --json",
			"just after a renewal a connection may have another key than the document: ask again"},
	}
	Intercepted = &Advice{
		Shown: "intercepted",
		Means: "somebody between the device and its visitors may read along, or has had a certificate for the name; also after a move of the name, while an old device still answers",
		Do: []string{"stop using NAME for what is secret, and look at the file of evidence: who has issued that certificate, and when",
			"where it is your own, as of another device or a replica, add its key to acme/keys in the state directory, on a line of its own; else tell the CA to revoke it, tell the relay's operator, and move to another relay or a domain of your own",
			"see \"Does anybody listen in?\" in docs/running-a-remote.md"},
	}
	AlarmProgram = &Advice{
		Shown: "the program of --on-intercept-run cannot be run …",
		Means: "nothing but the log and the screen would tell of an alarm",
		Do:    []string{"name a program that is there; each word behind it has a flag of its own: --on-intercept-run PROGRAM --on-intercept-run WORD"},
	}
	NotProbed = &Advice{
		Shown: "looked at the name from outside … not checked: …",
		Means: "the watch has not got as far as to see a key: that is neither good nor bad news",
		Do: []string{"many routers lead nobody back to an address of their own: let the watch look from elsewhere too, --probe-proxy URL",
			"else open the name from another network"},
	}
	NoPeer = &Advice{
		Shown: "looked at the name from outside … through … was not looked at: …",
		Means: "another remote of `--probe-with` was to look from its network",
		Do:    []string{"is NAME up, does it serve HTTP, and does that remote have this device in its --probe-with too (remote identity show says the label)?"},
	}
	NotLookedUp = &Advice{
		Shown: "looked at the name from outside … is not found in DNS: …",
		Means: "the watch looks at each address that DNS gives for the name",
		Do:    []string{"give NAME its records, or check the DNS server: --dns and --probe-dns say which is asked"},
	}
	NotVerified = &Advice{
		Shown: "…: who holds the key was not checked to the end",
		Means: "`remote verify`: it says neither that all is well nor that it is not",
		Do:    []string{"the lines say which steps were not checked, and why", "where the chain has a CA of its own, name its root: --root FILE"},
	}
	NotPinned = &Advice{
		Shown: "…: a device holds the key, and nothing says whether it is the right one",
		Means: "`remote verify`, for a name that is not made from a key",
		Do:    []string{"ask the owner for the label that remote identity show shows on the device, and give it: --identity LABEL"},
	}
	RulesUnkept = &Advice{
		Shown: "a visitor was refused here whom the relay should have refused",
		Means: "`--allow` or `--deny`, and the relay is too old, does not keep to them, or has others of another replica",
		Do: []string{"--allow and --deny hold all the same; only this device's line is not spared: ask the relay's operator to update it",
			"give all replicas of a name the same --allow and --deny: of theirs the relay keeps to the last"},
	}
	URLMoved = &Advice{
		Shown: "the URL of a name has moved",
		Means: "its relay says another port for visitors than before, or another relay of the name is the first one now; the watch still looks at the old port",
		Do:    []string{"ask the relay's operator why; who has the old URL still goes to the old port: give out the new one, or move the name to another relay"},
	}
)

// The advice for this device.
var (
	ServedHere = &Advice{
		Shown: "… is already served by another run on this device",
		Do:    []string{"stop that run first", "or publish this one under another name: --domain OTHER"},
	}
	ReplicaHere = &Advice{
		Shown: "… is already served by another run on this device",
		Means: "with `--replica`",
		Do:    []string{"a second replica on one device needs a copy of the state directory: copy it, and start this one with --state-dir COPY"},
	}
	RemoteState = &Advice{
		Shown: "… the state directory: …",
		Means: "it cannot be made, read or written",
		Do:    []string{"make DIR writable for this user, or choose another with --state-dir"},
	}
	StateObstacle = &Advice{
		Shown: "… the state directory: … not a directory",
		Means: "also `is a directory`, `file name too long`, `no such file or directory`",
		Do:    []string{"what is at FILE is not what this program makes there, or nothing can be there: move it away, or choose another folder with --state-dir"},
	}
	BadIdentity = &Advice{
		Shown: "… holds no Ed25519 key",
		Means: "the identity is damaged; a new one is never made in its place",
		Do:    []string{"restore FILE from a backup: it is what the names belong to", "or remove it to begin with a new identity, and other names"},
	}
	NewIdentity = &Advice{
		Shown: "the identity is gone: a new one was made",
		Means: "`identity.pem` is missing in a state directory that was in use",
		Do:    []string{"the names belong to the old one: restore FILE from a backup, if there is one"},
	}
	ServedDamaged = &Advice{
		Shown: "…/names/….json is damaged: it says how … was served last",
		Means: "also `the key was not changed: …`, since it is not known which relays have the name for the old key",
		Do: []string{"name its relay again, and the file is made anew: --domain NAME --relay RELAY; the damaged one is kept beside it, as FILE.damaged",
			"or restore FILE from a backup; or remove it, if that name is served no more"},
	}
	BadRun = &Advice{
		Shown: "… holds no number",
		Do:    []string{"remove it to begin at 1: FILE"},
	}
)
