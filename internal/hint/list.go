package hint

// The advice for whoever publishes a list of relays.
var (
	NotListKey = &Advice{
		Shown: "… is no key of a list: …",
		Means: "`relay list`",
		Do:    []string{"the key is an Ed25519 key as PEM: relay list key FILE makes one in a new file"},
	}
	ListKeyMissing = &Advice{
		Shown: "--key FILE is missing",
		Means: "`relay list sign`",
		Do:    []string{"the key that signs is a file: relay list key FILE makes one"},
	}
	ListDraft = &Advice{
		Shown: "the draft's …",
		Means: "also `the list's …`, `… is not the JSON that it should be`: `relay list`",
		Do:    []string{`at least a name and a relay are needed, as in {"name": "Relays of friends", "relays": [{"relay": "relay.net"}]}; docs/relay-list.md has all of it`},
	}
	ListUnsigned = &Advice{
		Shown: "none of the keys that were given has signed this list",
		Means: "also `no signature of this list fits`: `relay list verify`, exit code 1",
		Do:    []string{"it was changed after it was signed, or somebody else has signed it: devices refuse it; relay list sign makes it anew"},
	}
	ListOver = &Advice{
		Shown: "this list has expired at …",
		Means: "`relay list verify`, exit code 1",
		Do:    []string{"devices that look for a relay refuse it: sign it anew with relay list sign, and publish that"},
	}
)
