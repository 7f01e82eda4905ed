package hint

// Usage returns the rows of mistakes on the command line, which stand in both
// tables.
func Usage() []*Advice {
	return []*Advice{MeantFlag, MeantKey, FlagValue, FlagAlone, NoConfigFile, NoPort, MeantCommand, KnownCommands, GroupCommands, Shells, ManFolder}
}

// The advice for mistakes on the command line.
var (
	MeantFlag = &Advice{
		Shown: "unknown flag: …",
		Means: "also `unknown shorthand flag`, for a long one with one dash",
		Do:    []string{"did you mean --FLAG?"},
	}
	MeantKey = &Advice{
		Shown: "unknown flag: …",
		Means: "of the relay, for a key of its file that has no flag",
		Do:    []string{"KEY is a key of the configuration: write it into relay.yaml, and name that with --config FILE"},
	}
	FlagValue = &Advice{
		Shown: "flag needs an argument: …",
		Do:    []string{"as in --FLAG VALUE"},
	}
	FlagAlone = &Advice{
		Shown: "--…: … is neither true nor false",
		Do:    []string{"the flag alone switches it on: --FLAG"},
	}
	NoConfigFile = &Advice{
		Shown: "unknown flag: --config",
		Means: "of the remote's commands but `check`",
		Do:    []string{"this command reads no file of settings: --state-dir DIR says what state_dir says there"},
	}
	NoPort = &Advice{
		Shown: "unknown shorthand flag: '1' in -1",
		Do:    []string{"a port is a number from 1 to 65535, as in remote 3000"},
	}
	MeantCommand = &Advice{
		Shown: "unexpected argument …",
		Do:    []string{"did you mean COMMAND?"},
	}
	KnownCommands = &Advice{
		Shown: "unexpected argument …",
		Means: "where none is near to it",
		Do:    []string{"the commands are NAMES; COMMAND alone, with its flags, is what runs"},
	}
	GroupCommands = &Advice{
		Shown: "unexpected argument …",
		Means: "behind a command that has others below it",
		Do:    []string{"the commands are NAMES"},
	}
	ManFolder = &Advice{
		Shown: "mkdir …: permission denied",
		Means: "of the command `man`",
		Do:    []string{"name a folder that you may write, or do it as root"},
	}
	Shells = &Advice{
		Shown: "… is no shell that this knows",
		Do:    []string{"COMMAND bash, zsh, fish or powershell"},
	}
)
