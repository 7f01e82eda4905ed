package hint

// The advice for the commands that ask a remote that runs.
var (
	NoRemoteHere = &Advice{
		Shown: "no remote runs with the state directory …",
		Means: "`remote status`, `remote stop` and `remote reload`: exit code 1",
		Do: []string{"is it running? systemctl status keystay-remote, or start it: remote --config FILE",
			"a running one is found by its file or its state directory: --config FILE, or --state-dir DIR",
			"one that could not make its socket has said so in its log, at its start"},
	}
	NotYourRemote = &Advice{
		Shown: "cannot ask the remote at …: … permission denied",
		Do:    []string{"a remote answers root and the user who runs it: with sudo, and --state-dir DIR"},
	}
	SeveralRun = &Advice{
		Shown: "… remotes run with this state directory: …",
		Means: "`remote stop` and `remote reload`: exit code 2",
		Do:    []string{"say which: --pid NUMBER; remote status shows them"},
	}
	NoRunSocket = &Advice{
		Shown: "there is no socket for remote status, stop and reload",
		Means: "the remote runs all the same; its signals and its log are there",
		Do: []string{"the remote makes FILE at its start: let it write that folder",
			"where the path is too long for a socket, choose a shorter one: --state-dir DIR"},
	}
	NoMetrics = &Advice{
		Shown: "the metrics: listen …: …",
		Means: "`--metrics`: exit code 1",
		Do:    []string{"another program has the port, perhaps another remote: --metrics=PORT with another one", "or leave it out: everything else works without"},
	}
	NoInspector = &Advice{
		Shown: "listen for the inspector: …",
		Means: "exit code 1",
		Do:    []string{"is another remote's inspector there? another port, or any that is free: --inspect"},
	}
)
