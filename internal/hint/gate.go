package hint

// The advice for gates.
var (
	GateNotHash = &Advice{
		Shown: "line …: …, and only hashes of bcrypt are taken",
		Means: "of the passwords of a gate; also `the hash of … is not whole`, and one whose cost is too high",
		Do:    []string{"remote password USER asks for the password and prints the line for it, and so does htpasswd -nB -C 10 USER"},
	}
	GateNoUsers = &Advice{
		Shown: "no user with a password",
		Means: "in the file of a gate's passwords",
		Do:    []string{"remote password NAME asks for a password and prints the line for it"},
	}
	ShareNoName = &Advice{
		Shown: "no name given, and none was served from …",
		Means: "of the command `share`; also where what is given is no name",
		Do:    []string{"name what the link is to open: remote share NAME, as in remote share xyz.relay.net", "a local service is published without a command: remote 3000"},
	}
	OnePassword = &Advice{
		Shown: "the password: there is none",
		Means: "of the command `password`; also `it is one line, and there are more`, and other mistakes",
		Do:    []string{"without a terminal it is one line of standard input: printf %s 'the password' | remote password ada"},
	}
	ShareWhichName = &Advice{
		Shown: "no name given, and several were served from here before: …",
		Means: "of the command `share`",
		Do:    []string{"name the one that is meant: remote share NAME"},
	}
	ShareNoState = &Advice{
		Shown: "no remote has run from …",
		Means: "of the command `share`; also `… was not served from … so far`, with which the link is made all the same",
		Do:    []string{"a link is made with the state directory of the remote that serves the name: --state-dir DIR"},
	}
	GateKey = &Advice{
		Shown: "… holds no key of gates",
		Do:    []string{"put FILE back from a copy, or move it away: a new one is made, everybody has to sign in again, and links that were made before are over"},
	}
	GateManyLinks = &Advice{
		Shown: "… one-time links wait to be opened",
		Do:    []string{"they go when they end: make them for a shorter time"},
	}
	GateNotCA = &Advice{
		Shown: "certificate …, is none of a CA",
		Means: "of a gate's client_ca",
		Do:    []string{"give the certificate of the CA that has signed those of the clients"},
	}
	GateEveryUser = &Advice{
		Shown: "neither groups nor e-mail addresses say which users of … are let in",
		Do:    []string{`emails: ["*"] lets in every user of that provider: with a public one that is everybody`},
	}
	GateProvider = &Advice{
		Shown: "the OIDC provider cannot be reached",
		Means: "nobody is let in by it meanwhile",
		Do:    []string{"is the issuer spelt as the provider spells it, and does ISSUER/.well-known/openid-configuration open from this device?"},
	}
)
