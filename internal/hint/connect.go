package hint

// connects returns the rows of the command "remote connect".
func connects() []*Advice {
	return []*Advice{ConnectUnknown, ConnectAway, ConnectDenied, ConnectProtocol, ConnectCertificate, ConnectNoAddress, ConnectRefused,
		ConnectNoWay, ConnectSilent, ConnectNotTLS, ConnectOtherName, ConnectNotValid, ConnectUntrusted, ConnectBroken, ConnectPort}
}

// The advice for "remote connect".
var (
	ConnectUnknown = &Advice{
		Shown: "connect to …: … unrecognized name",
		Means: "of the command `connect`: a relay answers there, and no device serves that name through it",
		Do:    []string{"check how the name is spelt; on the device, remote status shows the names that it serves"},
	}
	ConnectAway = &Advice{
		Shown: "connect to …: … internal error",
		Means: "of the command `connect`: the relay knows the name",
		Do:    []string{"its device is away, or has no certificate yet: on the device, remote status and remote doctor say why"},
	}
	ConnectDenied = &Advice{
		Shown: "connect to …: … access denied",
		Means: "of the command `connect`",
		Do:    []string{"the name is not for visitors from this address: allow and deny on the device say for which"},
	}
	ConnectProtocol = &Advice{
		Shown: "connect to …: … no application protocol",
		Means: "of the command `connect`, with `--alpn`",
		Do:    []string{"the name serves none of the protocols that --alpn offers: alpn in the device's remote.yaml names them; without --alpn what is there for everybody answers"},
	}
	ConnectCertificate = &Advice{
		Shown: "connection to …: … certificate required",
		Means: "of the command `connect`",
		Do:    []string{"the service lets in only who shows a certificate: --cert FILE --key FILE"},
	}
	ConnectNoAddress = &Advice{
		Shown: "connect to …: … no such host",
		Means: "of the command `connect`",
		Do:    []string{"DNS has no address for this name: check how it is spelt; for a domain of your own, remote dns NAME --relay RELAY shows the records that it needs"},
	}
	ConnectRefused = &Advice{
		Shown: "connect to …: … connection refused",
		Means: "of the command `connect`",
		Do:    []string{"nothing listens at that port of the name's address: is it the public port of the relay? NAME:PORT gives another one, or --address where the address was given"},
	}
	ConnectNoWay = &Advice{
		Shown: "connect to …: … network is unreachable",
		Means: "of the command `connect`; also `no route to host`",
		Do:    []string{"this machine has no way there: is it online?"},
	}
	ConnectSilent = &Advice{
		Shown: "connect to …: … i/o timeout",
		Means: "of the command `connect`; also `no answer within …`",
		Do:    []string{"nothing answers there: try another network, or a proxy with --proxy URL"},
	}
	ConnectNotTLS = &Advice{
		Shown: "connect to …: … first record does not look like a TLS handshake",
		Means: "of the command `connect`",
		Do:    []string{"what answers there speaks no TLS: check the port"},
	}
	ConnectOtherName = &Advice{
		Shown: "connect to …: … certificate is valid for …, not …",
		Means: "of the command `connect`",
		Do:    []string{"what answers there is not this name: check the name and, where it is given, --address"},
	}
	ConnectNotValid = &Advice{
		Shown: "connect to …: … certificate has expired or is not yet valid: …",
		Means: "of the command `connect`",
		Do:    []string{"the certificate is valid from FROM to DATE, and this machine's clock says NOW: if the clock is right, the device has to renew it; remote doctor there says why it has not"},
	}
	ConnectUntrusted = &Advice{
		Shown: "connect to …: … certificate signed by unknown authority",
		Means: "of the command `connect`",
		Do: []string{"for a CA of your own: --root FILE, with its root certificate",
			"else something between here and the device ends TLS, such as a company's proxy, or somebody who listens in: remote verify NAME says whose key it is"},
	}
	ConnectBroken = &Advice{
		Shown: "connection to …: …",
		Means: "of the command `connect`: a connection that was there has been reset, or has ended without the end of TLS",
		Do:    []string{"what has come until then may not be all: connect again"},
	}
	ConnectPort = &Advice{
		Shown: "-L …: listen tcp …",
		Means: "of the command `connect`",
		Do:    []string{"the local port cannot be had: is something else listening there? -L 0 takes one that is free and prints it; ports below 1024 need a privilege on many systems"},
	}
)
