package hint

// The advice that remote doctor alone gives.
var (
	DoctorClock = &Advice{
		Shown: "clock … this machine's clock says …, …",
		Means: "`remote doctor`: certificates, sign-ins and links to a gate end or begin at the wrong time",
		Do:    []string{"set the clock, and let it be kept right: timedatectl set-ntp true on most systems"},
	}
	DoctorFamily = &Advice{
		Shown: "ipv4 … …, ipv6 … …",
		Means: "`remote doctor`: an address of the relay takes no connection from here; the link may go by another one",
		Do:    []string{"let connections out to HOST:PORT, in the firewalls of this machine and of its network", "where only some ports go out, a proxy may help: --proxy URL"},
	}
	DoctorNodes = &Advice{
		Shown: "nodes …: node … is not reached at its own address: …",
		Means: "`remote doctor`: the relay runs on several machines; links go to those that are reached, or by its name",
		Do:    []string{"let connections out to it, in the firewalls of this machine and of its network", "where it is so from other networks too, tell the operator: cluster.public of that node says what is dialled"},
	}
	DoctorNameElsewhere = &Advice{
		Shown: "name_dns …: … leads to …, and none of it is an address of …",
		Means: "`remote doctor`: visitors get to somebody else",
		Do:    []string{"a name below a relay is led there by the relay's operator: ask for the wildcard record *.ZONE", "where this network answers otherwise than others do, ask another DNS server: --dns 9.9.9.9"},
	}
	DoctorNoVisitors = &Advice{
		Shown: "rehearsal …: …",
		Means: "`remote doctor`: an address that DNS gives for the name does not lead visitors to this device",
		Do:    []string{"look at the link and at the log of the remote: each relay that DNS names for NAME needs one", "a CA looks from several places, and so does not give a certificate either"},
	}
	DoctorRenewal = &Advice{
		Shown: "certificate …: it is due for renewal since …",
		Means: "`remote doctor`",
		Do:    []string{"start the remote, if none runs; else its log says why the CA gives no certificate: look for \"no certificate obtained\""},
	}
	DoctorPolicy = &Advice{
		Shown: "limits …: the relay gives new names …",
		Means: "`remote doctor`: a claim of a name that this device has not had before will be denied",
		Do:    []string{"ask the relay's operator for a token, and keep it here: remote login RELAY", "or take a name made from the key: leave out --domain"},
	}
	DoctorManyNames = &Advice{
		Shown: "limits …: … names are wanted, and one link holds …",
		Means: "`remote doctor`",
		Do:    []string{"serve the names from several state directories, each with an identity of its own"},
	}
	DoctorForbidden = &Advice{
		Shown: "caa …: the CAA records at … let no account of this device have a certificate",
		Means: "`remote doctor`: no certificate is issued or renewed while they stand",
		Do:    []string{"remote dns NAME --relay RELAY shows the record to set", "for a name below a relay, ask its operator"},
	}
	DoctorOtherCA = &Advice{
		Shown: "caa …: the CAA records at … let none of … issue one for this device",
		Means: "`remote doctor`: they name other CAs than the one that is asked, and it issues nothing",
		Do:    []string{`set NAME CAA 0 issue "ISSUER"; for a name below a relay, ask its operator`, "or ask a CA that they name: --acme-ca URL"},
	}
	DoctorOperator = &Advice{
		Shown: "caa …: not operator-proof: …",
		Means: "`remote doctor`, for a domain of your own: whoever runs the relay could have a certificate for it",
		Do:    []string{"remote dns NAME --relay RELAY shows the CAA record that keeps all others from a certificate"},
	}
	DoctorFails = &Advice{
		Shown: "… of … steps found something wrong",
		Means: "`remote doctor`",
		Do:    []string{"the lines with !! say what, and the lines below them what to do"},
	}
)
