package hint

// ofCheck returns the rows of relay check and relay init.
func ofCheck() []*Advice {
	return []*Advice{
		CheckNotReady, CheckNoAddress, CheckNoWildcard, CheckAlias, CheckNoDNS, CheckUnsigned, CheckFamily, CheckElsewhere, CheckNotReached,
		CheckForbidden, CheckNotPublicSuffix, CheckClock, CheckDescriptors, CheckKernel, CheckOwnServer, CheckSibling, CheckTCPPorts, CheckCertificate, CheckFails,
		InitExists, InitDomain, InitFile,
	}
}

// The advice that relay check alone gives.
var (
	CheckTCPPorts = &Advice{
		Shown: "tcp_ports …: … of … cannot be had, the first by this: …",
		Means: "`relay check`: another program has them, or this user may not; no device gets them as long as that is so",
		Do:    []string{"take a range that nothing else uses: ss -ltn shows what is listened on"},
	}
	CheckNotReady = &Advice{
		Shown: "ready …: …",
		Means: "`relay check`: the relay that runs lets no remotes in",
		Do:    []string{"its log says more: journalctl -u keystay-relay; and so does relay status"},
	}
	CheckNoAddress = &Advice{
		Shown: "dns …: it has no address",
		Means: "`relay check`",
		Do:    []string{"set an A record, and AAAA where this machine has IPv6, for NAME: see deploy/dns-wildcard.md"},
	}
	CheckNoWildcard = &Advice{
		Shown: "wildcard …: names below the domain lead …",
		Means: "`relay check`: devices' names do not come here",
		Do:    []string{"set *.NAME to the addresses of NAME: see deploy/dns-wildcard.md"},
	}
	CheckAlias = &Advice{
		Shown: "dns …: it is a CNAME to …",
		Means: "`relay check`: at the top of a zone there are records beside it, with which a CNAME cannot be; elsewhere the other zone's owner has the last word",
		Do:    []string{"set A and AAAA records for NAME in the place of the CNAME"},
	}
	CheckNoDNS = &Advice{
		Shown: "dns …: the A records of …: the DNS server …",
		Means: "`relay check`",
		Do:    []string{"ask another resolver: names.resolvers in relay.yaml; and look whether the zone's own DNS servers answer"},
	}
	CheckUnsigned = &Advice{
		Shown: "dnssec …: no resolver has checked signatures of it",
		Means: "`relay check`: who can forge DNS to a CA can have a certificate",
		Do:    []string{"sign the zone where your DNS provider offers it, and use a resolver that checks: names.resolvers"},
	}
	CheckFamily = &Advice{
		Shown: "listen …: DNS leads to … over …, and nothing listens there",
		Means: "`relay check`: visitors over that family wait, and so may a CA",
		Do:    []string{`listen on it too, as listen: [":443"] does; or take the record out of DNS`},
	}
	CheckElsewhere = &Advice{
		Shown: "reach …: no interface of this machine has it",
		Means: "`relay check`: so it is behind NAT or a load balancer, or the record is of another machine",
		Do:    []string{"look from elsewhere: curl https://NAME/.well-known/keystay.json"},
	}
	CheckNotReached = &Advice{
		Shown: "reach …: …",
		Means: "`relay check`: the relay runs, and cannot be reached at an address that DNS gives",
		Do: []string{"let TCP to this port through, in the firewalls of this machine and of its provider",
			"behind NAT, a machine may not reach its own address: then look from elsewhere, as with curl https://NAME/.well-known/keystay.json"},
	}
	CheckForbidden = &Advice{
		Shown: "caa …: the CAA records at … let … issue nothing",
		Means: "`relay check`: devices below the domain get no certificate either",
		Do:    []string{`set NAME CAA 0 issue "ISSUER", or take the records out`},
	}
	CheckNotPublicSuffix = &Advice{
		Shown: "psl …: it is not on the Public Suffix List",
		Means: "`relay check`: all names below it share one limit at Let's Encrypt, and can set cookies for each other",
		Do:    []string{"where strangers take names here, ask for a place on it: https://publicsuffix.org/submit/"},
	}
	CheckClock = &Advice{
		Shown: "clock … this machine's clock says …, the CA's …",
		Means: "`relay check`: certificates seem not valid yet, or expired",
		Do:    []string{"set the clock, and let it be kept right: timedatectl set-ntp true on most systems"},
	}
	CheckDescriptors = &Advice{
		Shown: "descriptors …: … may be open",
		Means: "`relay check`: each visitor takes one, or two on a lane",
		Do:    []string{"the unit in deploy/ sets LimitNOFILE=1048576; in a shell: ulimit -Hn"},
	}
	CheckKernel = &Advice{
		Shown: "kernel …: it is …, and … is better",
		Means: "`relay check`",
		Do:    []string{"write KEY = VALUE into a file of /etc/sysctl.d, then: sysctl --system"},
	}
	CheckSibling = &Advice{
		Shown: "it does not list this relay among its siblings",
		Means: "visitors are passed on only where both operators list each other",
		Do:    []string{"dial is the public port of that relay: does it answer from here?", "its operator lists this relay: siblings: [{name: NAME, from: [the addresses of this machine]}]"},
	}
	CheckOwnServer = &Advice{
		Shown: "static …: …",
		Means: "`relay check`; also `fallback`: the server of your own does not answer",
		Do:    []string{"start it, or mend the address; ss -ltnp tells what listens where"},
	}
	CheckCertificate = &Advice{
		Shown: "certificate …: it has expired",
		Means: "`relay check`: also where it ends within 7 days",
		Do:    []string{"start the relay, which renews it; else its log says why the CA gives none"},
	}
	CheckFails = &Advice{
		Shown: "… of … steps found something wrong",
		Means: "`relay check`",
		Do:    []string{"the lines with !! say what, and the lines below them what to do"},
	}
)

// The advice that relay init gives.
var (
	InitExists = &Advice{
		Shown: "… is there already",
		Means: "`relay init`, which overwrites nothing",
		Do:    []string{"name another file, or move FILE away; relay check --config FILE looks at it"},
	}
	InitDomain = &Advice{
		Shown: "--domain is missing, and nobody is there to be asked",
		Means: "`relay init` without a terminal",
		Do:    []string{"relay init --domain relay.net --policy token"},
	}
	InitFile = &Advice{
		Shown: "write the configuration: …",
		Means: "`relay init`",
		Do:    []string{"let this user write FILE, in a folder that is there; or name another file"},
	}
)
