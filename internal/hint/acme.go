package hint

// ACME returns the rows about certificates from a CA.
func ACME() []*Advice {
	return []*Advice{
		CAAway, CAProxyAway, CAProxySignIn, CAProxyForbids, CAProxyPortal, CAProxyCannot, CAProxyNone, CAProxySOCKS, CAUntrusted, CAOtherClock, CAOtherName, CANoDirectory, CANotHTTPS, CATrouble,
		CALimit, CABinding, CAWrongBinding, CATerms, CAContact,
		CANoName, NameForbidden, NameNowhere, NameElsewhere,
		ClockWrong, NewAccount,
	}
}

// The advice for a CA that cannot be reached, or is none.
var (
	CAAway = &Advice{
		Shown: "the CA … cannot be reached: …",
		Means: "it is tried again",
		Do:    []string{"is this machine online, and may it reach HOST? behind a proxy: set HTTPS_PROXY (the remote has --proxy URL too)"},
	}
	CAProxyAway = &Advice{
		Shown: "the CA … cannot be reached: proxyconnect …",
		Do:    []string{"the proxy cannot be reached: check its address in HTTPS_PROXY, or name HOST in NO_PROXY to go without (the remote has --proxy too)"},
	}
	CAProxySignIn = &Advice{
		Shown: "the CA … cannot be reached: the proxy answers CONNECT with 407",
		Do: []string{"the proxy wants a user and password, or others than it was given: HTTPS_PROXY=http://USER:PASSWORD@PROXY:PORT (the remote has --proxy too)",
			"what is no letter or digit in them is written as in a URL: %40 for @"},
	}
	CAProxyForbids = &Advice{
		Shown: "the CA … cannot be reached: the proxy answers CONNECT with 403",
		Do:    []string{"the proxy forbids HOST: ask whoever runs it to let it through"},
	}
	CAProxyPortal = &Advice{
		Shown: "the CA … cannot be reached: the proxy answers CONNECT with 302",
		Means: "also any other status from 300 to 399",
		Do:    []string{"the proxy sends elsewhere, such as to a page to sign in at: open a page in a browser on this network first"},
	}
	CAProxyCannot = &Advice{
		Shown: "the CA … cannot be reached: the proxy answers CONNECT with 502",
		Means: "also any other status from 500 on",
		Do:    []string{"the proxy cannot reach HOST: ask whoever runs it"},
	}
	CAProxyNone = &Advice{
		Shown: "the CA … cannot be reached: the proxy answers CONNECT with 405",
		Means: "also any other status from 400 to 499",
		Do:    []string{"what answers there passes no connections on: check the proxy's address and port in HTTPS_PROXY (the remote has --proxy too)"},
	}
	CAProxySOCKS = &Advice{
		Shown: "the CA … cannot be reached: socks connect …",
		Do: []string{"the proxy answers, and gives no way to HOST: ask whoever runs it to let HOST through",
			"if it wants a user and password, or others than it was given: HTTPS_PROXY=socks5://USER:PASSWORD@PROXY:PORT (the remote has --proxy too)"},
	}
	CAUntrusted = &Advice{
		Shown: "the CA … cannot be reached: … certificate signed by unknown authority",
		Do: []string{"if the CA is a private one, give the roots of its API: --acme-root FILE (for the relay: acme.ca_root)",
			"else something between this machine and HOST ends TLS, such as a company's proxy or a virus scanner: let it pass HOST, or use another network"},
	}
	CAOtherClock = &Advice{
		Shown: "the CA … cannot be reached: … certificate has expired or is not yet valid",
		Do:    []string{"this machine's clock says NOW: set it if that is wrong; if it is right, the CA's own certificate is not valid now"},
	}
	CAOtherName = &Advice{
		Shown: "the CA … cannot be reached: … certificate is valid for …, not …",
		Means: "also `remote error: tls: …`, and a server that speaks no TLS",
		Do:    []string{"what answers there is another server: check --acme-ca URL (for the relay: acme.ca)"},
	}
	CANoDirectory = &Advice{
		Shown: "… is no ACME directory: …",
		Do:    []string{"check the path of --acme-ca URL (for the relay: acme.ca); Let's Encrypt's whole URL is https://acme-v02.api.letsencrypt.org/directory"},
	}
	CANotHTTPS = &Advice{
		Shown: "the CA sends to …, which is not https",
		Do:    []string{"a CA is used over https alone: mend its directory, or choose another with --acme-ca URL (for the relay: acme.ca)"},
	}
	CATrouble = &Advice{
		Shown: "the CA … has trouble of its own: …",
		Means: "also `the CA refused: serverInternal`; it is tried again",
		Do:    []string{"wait; or name another CA beside it"},
	}
)

// The advice for a CA that refuses an order, whatever the name.
var (
	CALimit = &Advice{
		Shown: "the CA refused: rateLimited: …",
		Do:    []string{"the CA's limit is used up: it is asked again by itself, and restarts do not help; what an operator can do: deploy/dns-wildcard.md"},
	}
	CABinding = &Advice{
		Shown: "the CA refused: externalAccountRequired: …",
		Do:    []string{"this CA wants an account that it gave out: take a key id and an HMAC key from its pages, and give them with --acme-eab-kid and KEYSTAY_REMOTE_ACME_EAB_HMAC (for the relay: acme.eab)"},
	}
	CAWrongBinding = &Advice{
		Shown: "the CA did not take the external account: …",
		Do:    []string{"check the key id and the HMAC key: they belong together, are the CA's for ACME, and may be good for one account alone"},
	}
	CATerms = &Advice{
		Shown: "the CA refused: userActionRequired: …",
		Do:    []string{"the CA wants its new terms agreed to: open PAGE; it is asked again by itself"},
	}
	CAContact = &Advice{
		Shown: "the CA refused: invalidContact: …",
		Means: "also `unsupportedContact`",
		Do:    []string{"check the address of --acme-email (for the relay: acme.email), or leave it out"},
	}
)

// The advice for a CA that does not give a certificate for this name.
var (
	CANoName = &Advice{
		Shown: "the CA refused: rejectedIdentifier: …",
		Means: "also `unsupportedIdentifier`",
		Do:    []string{"this CA gives no certificate for this name: choose another name, or another CA with --acme-ca URL (for the relay: acme.ca)"},
	}
	NameForbidden = &Advice{
		Shown: "the CA refused: caa: …",
		Do:    []string{"a CAA record in the DNS forbids this CA, or no resolver could say: ask whoever runs the DNS of this name, for a name below a relay its operator; or choose another CA with --acme-ca URL (for the relay: acme.ca)"},
	}
	NameNowhere = &Advice{
		Shown: "the CA refused: dns: …",
		Do:    []string{"the name has no address in the public DNS: below a relay, its operator sets the wildcard record; for the relay itself, set A and AAAA; see deploy/dns-wildcard.md"},
	}
	NameElsewhere = &Advice{
		Shown: "the CA refused: connection: …",
		Means: "also `tls`, `unauthorized`, `incorrectResponse`: its validation did not come here",
		Do:    []string{"the CA must reach the relay under this name from outside, on port 443 or 80: is another server, a firewall or a CDN in between, or an old address in the DNS?"},
	}
	ClockWrong = &Advice{
		Shown: "the new certificate has expired already",
		Means: "or is due for renewal already",
		Do:    []string{"this machine's clock says NOW: set it if that is wrong"},
	}
	NewAccount = &Advice{
		Shown: "… account … key …, and a new account …",
		Means: "the key of the ACME account is damaged, or the CA has ended its account or takes no such key",
		Do:    []string{"a CAA record that names the old account must be changed to the new one"},
	}
)
