package hint

// The advice for the device's key.
var (
	NoIdentityHere = &Advice{
		Shown: "there is no identity in …",
		Means: "exit code 2; a key is made by the first start, or imported",
		Do:    []string{"name the state directory that the names are served from: --state-dir DIR"},
	}
	IdentityThere = &Advice{
		Shown: "…: … has an identity already: nothing was imported",
		Means: "exit code 2",
		Do:    []string{"import into another directory: --state-dir DIR", "or put what is there aside, where it is kept: --replace"},
	}
	ImportInUse = &Advice{
		Shown: "…: … is served from … now: nothing was imported",
		Means: "by another process on this device",
		Do:    []string{"stop that process first"},
	}
	NotAnExport = &Advice{
		Shown: "…: it is no export of an identity: …",
		Means: "or it is damaged, or too large; exit code 2",
		Do:    []string{"give the file that was made by: remote identity export FILE"},
	}
	ExportPassphrase = &Advice{
		Shown: "…: the passphrase does not open it",
		Means: "exit code 2",
		Do:    []string{"give the passphrase that the file was exported with; without it nobody can open the file"},
	}
	ExportExists = &Advice{
		Shown: "… is there already: nothing was exported",
		Means: "exit code 2",
		Do:    []string{"choose another name for the file, or remove it"},
	}
	NoPassphrase = &Advice{
		Shown: "the passphrase: …",
		Means: "none was given, or it is too short; exit code 2",
		Do:    []string{"type it on a terminal, or give it with --passphrase-file FILE or KEYSTAY_REMOTE_PASSPHRASE"},
	}
	KeyNamesEnd = &Advice{
		Shown: "… is made from the key, and ends with it: nothing was changed",
		Means: "`remote identity rotate`; exit code 2",
		Do:    []string{"to change the key all the same, and serve another name: remote identity rotate --yes"},
	}
	TooManyHandovers = &Advice{
		Shown: "the device has changed its key … times, and … has heard of none of it",
		Do:    []string{"start remote with the names that this relay gave, so that it hears of it", "if the relay is gone for good, remove FILE: what it gave is lost then"},
	}
	NamesUnkept = &Advice{
		Shown: "the key was not changed: a run cannot write which relay has given it a name",
		Means: "the old key would be lost, and the name with it",
		Do:    []string{"see in the log of that run why, such as a disk that is full: it tries again each minute, and is not to be stopped before"},
	}
	HandoversLarge = &Advice{
		Shown: "the key was not changed: … would be larger than is read",
		Means: "thousands of names, or several new keys that relays have not heard of",
		Do: []string{"start remote with its names, so that the relays hear of the keys from before: remote identity show says which have not",
			"remove what FOLDER has of names that are served no more"},
	}
	HandoversDamaged = &Advice{
		Shown: "… is damaged: it holds the keys from before, and what they hand over",
		Do:    []string{"restore FILE from a backup that was made after the key was last changed", "or put it aside: relays that have not heard of the new key then keep the names for the old one"},
	}
	KeyNameRuns = &Advice{
		Shown: "the new key is not in use yet: a name is served that is made from the old one",
		Means: "after `remote identity rotate`, at SIGHUP",
		Do:    []string{"start remote again: it then serves the name made from the new key"},
	}
)
