package hint

// lists is the part of the remote's table about published lists of relays.
func lists() []*Advice {
	return []*Advice{ListAway, ListBroken, ListForeign, ListOld, ListExpired, ListNoRelay, ListNoFit, ListNoLink, TakenAway, TakenDamaged}
}

// The advice for a device that takes a relay of a list.
var (
	ListAway = &Advice{
		Shown: "fetch the list …: …",
		Do:    []string{"is the URL right, and is this device online? a list in a file does, too: --relay-list FILE", "or name a relay: --relay relay.net"},
	}
	ListBroken = &Advice{
		Shown: "…: the list is not the JSON that it should be: …",
		Means: "also `the list's …`, `… no signature fits`",
		Do:    []string{"what is there is no list of relays, or was changed after it was signed: check --relay-list, and tell whoever publishes it"},
	}
	ListForeign = &Advice{
		Shown: "the list is not signed by a key that it must be signed by: it is signed by …, and not by …",
		Means: "exit code 1; nothing of the list is used",
		Do: []string{"ask whoever publishes the list, by another way than the list itself, whether its key is KEY now",
			"if it is, say so: --relay-list-key KEY"},
	}
	ListOld = &Advice{
		Shown: "the list has the serial number …, and one with … was seen before",
		Do:    []string{"somebody shows an old list, or its publisher has signed one with a lower --serial: tell them; it is tried again"},
	}
	ListExpired = &Advice{
		Shown: "the list has expired at …",
		Do:    []string{"this device's clock says NOW: if that is right, tell whoever publishes the list to sign it anew", "until then name a relay: --relay relay.net"},
	}
	ListNoRelay = &Advice{
		Shown: "no relay of … can be taken: …",
		Do:    []string{"remote relays shows what is the matter with each", "or name a relay: --relay relay.net"},
	}
	ListNoFit = &Advice{
		Shown: "no relay of … can be taken from here",
		Means: "`remote relays`, exit code 1",
		Do:    []string{"what is said of each relay says why: where it asks for a token, ask its operator for one, and keep it with remote login RELAY"},
	}
	ListNoLink = &Advice{
		Shown: "no relay of the list gives a link: …",
		Means: "they were reached, and the device was not let in",
		Do:    []string{"see what is said of each; it is tried again", "or name a relay: --relay relay.net"},
	}
	TakenAway = &Advice{
		Shown: "the relay that was taken is not reached",
		Means: "with `--relay auto`, after half an hour, and then once a day",
		Do: []string{"it is dialled again and again, since names below RELAY can be served by it alone",
			"if it is gone for good: remote relays --take, and start anew; a name made from the key is another one then, below the new relay, and a domain of your own needs its DNS records changed, see remote dns"},
	}
	TakenDamaged = &Advice{
		Shown: "… is damaged: it says which relay was taken",
		Do:    []string{"name the relay that served this device, with --relay RELAY, and move FILE away: without it another relay may be taken, and names made from the key are others then"},
	}
)
