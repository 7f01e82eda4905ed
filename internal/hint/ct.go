package hint

// The advice about certificate transparency.
var (
	CTBlind = &Advice{
		Shown: "the watch of certificate transparency does not work",
		Means: "the monitor has not shown the device's own newest certificate within a day: so it may not show others' either",
		Do: []string{"look for NAME at another monitor, as https://crt.sh, and compare the keys",
			"where the CA publishes nothing, turn the watch off: --ct off; else name another monitor: --ct URL"},
	}
	CTOld = &Advice{
		Shown: "a certificate from before this device kept its keys has a key that it does not know",
		Means: "`--ct`: a certificate of another machine, or of a state directory that is gone, or somebody else's",
		Do: []string{"if it was yours, nothing is to be done: this is said until it expires; add its key to FILE to end that",
			"if not, somebody else had a certificate for your name: ask the CA that is named to revoke it"},
	}
	CTForeign = &Advice{
		Shown: "ct …: … has certificates with keys that are not this device's: …",
		Means: "`remote doctor`: whoever has that key can read along, if visitors get to them",
		Do: []string{"if the certificate is yours, as of another device or replica, add its key to FILE on a line of its own",
			"if not, ask the CA that is named to revoke it, and take the name away from whoever could order it: the relay's operator, and all that can change its DNS"},
	}
)
