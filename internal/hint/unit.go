package hint

// The advice for "remote service".
var (
	NoServiceManager = &Advice{
		Shown: "no service manager that can be used is here: …",
		Means: "`remote service`: exit code 1",
		Do: []string{"systemd, launchd and Windows are known; in a container, let the container's own manager keep the remote running",
			"for --user be logged in as that user, not by su or sudo: systemctl --user status must work"},
	}
	ServiceWantsRoot = &Advice{
		Shown: "a service of the machine is for root to change",
		Means: "`remote service`: exit code 2",
		Do:    []string{"sudo remote service WORD …", "or a service of your own, without root: remote service WORD --user …"},
	}
	ServiceThere = &Advice{
		Shown: "the service is installed already: …",
		Means: "`remote service install`: exit code 2. Nothing is changed",
		Do: []string{"to change what it serves, edit FILE: the running one takes that up by itself, or says in its log what takes a restart",
			"to install it anew: remote service uninstall, then install; the device's key stays"},
	}
	ServiceOfPackage = &Advice{
		Shown: "a package has brought a service of this name: …",
		Means: "`remote service install`: exit code 2",
		Do:    []string{"its settings are in /etc/keystay/remote.env; then: systemctl enable --now keystay-remote", "or take the package off first"},
	}
	ServiceMissing = &Advice{
		Shown: "the service is not installed",
		Means: "`remote service`: exit code 1",
		Do:    []string{"remote service install SERVICE, with the flags that remote would get; that of a user is another one: --user"},
	}
	ServiceStateElsewhere = &Advice{
		Shown: "the device's key is in …, and the service would make another one in …",
		Means: "`remote service install`: exit code 2. Names belong to the key",
		Do: []string{"let the service run as the owner of that folder: --as OWNER",
			"or bring the key there: remote identity export FILE, then as ACCOUNT remote identity import FILE",
			"or if it is to be another device, say which folder it has: --state-dir DIR"},
	}
	ServiceStateForeign = &Advice{
		Shown: "the state directory … belongs to …, and the service runs as …",
		Means: "`remote service install`: exit code 2",
		Do:    []string{"--as OWNER, or give the folder over: chown -R ACCOUNT DIR"},
	}
	ServiceFlagsInFile = &Advice{
		Shown: "the settings are in …: …",
		Means: "`remote service install --config FILE` with flags or variables beside it, which the service would not get: exit code 2",
		Do:    []string{"put it into FILE; --config and --state-dir alone are kept for the service"},
	}
	ServiceProxy = &Advice{
		Shown: "the service does not have this shell's …",
		Means: "`remote service install`, of `HTTPS_PROXY` and the like",
		Do:    []string{"if it needs the proxy, say so: --proxy URL, or proxy: in the file"},
	}
	ServiceLinger = &Advice{
		Shown: "a service of a user ends when the user logs out",
		Means: "`remote service install --user` under systemd",
		Do:    []string{"to let it run without: sudo loginctl enable-linger USER"},
	}
)
