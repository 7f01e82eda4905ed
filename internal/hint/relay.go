package hint

import "slices"

// Relay returns the table of docs/running-a-relay.md, in its order.
func Relay() []*Advice {
	list := []*Advice{
		LowPort, PortInUse, AddressElsewhere, AddressNoName, SocketUnknown,
		StateInUse, RelayState, StatePlace, StateFull, LongState, NoControl, AuditIsFolder, RecordDamaged, RecordNoFile, RecordGone, ClockJumped,
		NoProxyHeader, FixedAway, SiblingAway, SiblingStranger,
		NoTakeover, TakeoverHere, LeversHere, NoRelayHere, NotYourRelay, BackupExists, OldGoesOn, NotLive,
		MemoryNotThere, MemoryUsedUp, DescriptorsUsedUp, TooManyLinks, LimitsMet,
		NotListKey, ListKeyMissing, ListDraft, ListUnsigned, ListOver,
	}
	return slices.Concat(list, ofCluster(), ofEtcd(), ofCheck())
}

// The advice for the relay's sockets.
var (
	LowPort = &Advice{
		Shown: "listen for … on …: … permission denied",
		Do:    []string{"ports below 1024 need a privilege: run it by the systemd unit in deploy/, or give the program CAP_NET_BIND_SERVICE"},
	}
	PortInUse = &Advice{
		Shown: "listen for … on …: … address already in use",
		Do:    []string{"another program has this port: find it with ss -ltnp, or choose another address for KEY"},
	}
	AddressElsewhere = &Advice{
		Shown: "listen for … on …: … cannot assign requested address",
		Do: []string{"no interface of this machine has that address: see ip addr, and mend KEY",
			"without a host, as in :443, the relay listens on every address; behind NAT that is what is wanted"},
	}
	AddressNoName = &Advice{
		Shown: "listen for … on …: … no such host",
		Do:    []string{"write an address of this machine in KEY, as ip addr shows it, or none for all of them: :443"},
	}
	SocketUnknown = &Advice{
		Shown: "systemd has opened …, and nothing in the configuration has that port",
		Do:    []string{"name it in its unit: FileDescriptorName=public, http or admin"},
	}
)

// The advice for the relay's state directory, and for a takeover.
var (
	StateInUse = &Advice{
		Shown: "open …/names.db: another relay uses this state_dir",
		Do: []string{"stop the other relay first, or give this one a state_dir of its own",
			"to replace it without a break: relay --config FILE --takeover"},
	}
	RelayState = &Advice{
		Shown: "make state_dir: … permission denied",
		Means: "also `open …/names.db: permission denied`",
		Do: []string{"make DIR writable for the user who runs the relay",
			"or choose another folder: state_dir in relay.yaml, or --state-dir"},
	}
	StatePlace = &Advice{
		Shown: "make state_dir: … not a directory",
		Means: "also `no such file or directory`, `file name too long`",
		Do:    []string{"there can be no folder DIR: choose another place, state_dir in relay.yaml or --state-dir"},
	}
	StateFull = &Advice{
		Shown: "open …/names.db: … no space left on device",
		Do:    []string{"the disk of DIR is full: make room there"},
	}
	LongState = &Advice{
		Shown: "there is no control socket … its path is longer than … bytes",
		Means: "the relay runs, and cannot be taken over from",
		Do:    []string{"choose a state_dir with a shorter path: systems give the path of a socket no more room"},
	}
	NoControl = &Advice{
		Shown: "there is no control socket …",
		Means: "the relay runs, and cannot be taken over from",
		Do:    []string{"the relay makes its control socket FILE at its start: take away what is in its place, and let it write the folder"},
	}
	RecordDamaged = &Advice{
		Shown: "the record of names is damaged: …",
		Means: "`names.db` is not what was written. Nothing new is given out; who is connected goes on",
		Do: []string{"stop the relay, put a backup in the place of FILE, and start it",
			"without a backup, move FILE away: then every name is free for whoever comes first"},
	}
	RecordNoFile = &Advice{
		Shown: "open …/names.db: it is a folder, and no record of names",
		Means: "also `a named pipe`, `a device`; such as a container's mount of a file that was not there",
		Do: []string{"move FILE away; if there is a record, put it in its place, else a new one begins, and every name is free for whoever comes first",
			"a container mounts the whole folder state_dir, not the file"},
	}
	RecordGone = &Advice{
		Shown: "names.db is gone: a new record of names begins, and every name is free for whoever comes first",
		Means: "there is an audit log of an earlier run in `state_dir`, and no record",
		Do: []string{"if that is not what you want: stop the relay, put a backup in the place of FILE, and start it",
			"is state_dir the right folder, and is what is mounted there the right volume?"},
	}
	ClockJumped = &Advice{
		Shown: "the clock of this machine has jumped, or the relay was off for long",
		Means: "names are kept all the same; certificates need a clock that is right",
		Do:    []string{"compare it with another clock: date -u; timedatectl tells whether anything keeps it right"},
	}
	NoTakeover = &Advice{
		Shown: "take over: no relay is running on this state_dir",
		Do:    []string{"start it without --takeover, or check that state_dir is the running relay's"},
	}
	TakeoverHere = &Advice{
		Shown: "--takeover does not work on this system",
		Do:    []string{"it needs Linux, macOS or FreeBSD: here, stop the relay and start it again"},
	}
)

// The advice for what stands before the relay, and beside it.
var (
	NoProxyHeader = &Advice{
		Shown: "a connection from a proxy was closed",
		Means: "it comes from an address in `proxy_protocol.from`, and does not begin with a PROXY header: whoever is behind it would have the proxy's address",
		Do: []string{"let the proxy send one: send-proxy-v2 in HAProxy, proxy_protocol on in nginx's stream; or take its address out of proxy_protocol.from",
			"a health check that only connects is closed without this line; one that speaks has to send the header, too"},
	}
	FixedAway = &Advice{
		Shown: "the server behind static or fallback does not answer",
		Means: "its visitors get the alert `internal_error`, on port 80 status 502",
		Do: []string{"is it running, and does it listen on the address of to, or of http? ss -ltnp tells",
			"where it leads back to this relay: give that server a port of its own"},
	}
	SiblingAway = &Advice{
		Shown: "a sibling does not answer",
		Means: "visitors of devices that are away here wait for them, as without a sibling; it is asked again after 5 seconds, then less often, up to a minute",
		Do: []string{"does its public port answer from here? openssl s_client -connect HOST:PORT tells",
			"where it answers others: its operator lists the address that this relay dials from in the from of its siblings"},
	}
	SiblingStranger = &Advice{
		Shown: "a sibling passes visitors on under another name than siblings has for its address",
		Means: "these visitors are refused",
		Do:    []string{"make the name in siblings the domain of the relay there, and give each sibling addresses of its own"},
	}
)

// AuditIsFolder is for a folder in the place of the audit log.
var AuditIsFolder = &Advice{
	Shown: "cannot write the audit log; the relay goes on without … is a directory",
	Do:    []string{"move FILE away: the log is begun at the next entry, without a restart"},
}

// The advice for the levers of a running relay.
var (
	LeversHere = &Advice{
		Shown: "there is no socket for the operator on this system …",
		Do:    []string{"it needs Linux, macOS or FreeBSD"},
	}
	NoRelayHere = &Advice{
		Shown: "cannot reach the relay at …/api.sock: …",
		Means: "also `connect: no such file or directory`, `connection refused`",
		Do: []string{"is the relay running? systemctl status keystay-relay, or start it: relay --config FILE",
			"a running one is found by its file or its state directory: --config FILE, or --state-dir DIR"},
	}
	BackupExists = &Advice{
		Shown: "the backup: … is there already",
		Means: "`relay backup`, which overwrites nothing",
		Do:    []string{"name another file, as keystay-$(date +%F-%H%M).tar does"},
	}
	NotLive = &Advice{
		Shown: "a setting that has changed takes a restart, or a takeover; its old value stays",
		Do:    []string{"for a takeover, which nobody notices: systemctl reload keystay-relay, or SIGUSR2"},
	}
	OldGoesOn = &Advice{
		Shown: "the old process is of a version that cannot be told what is cut here …",
		Means: "after a takeover from an older version, while its last visitors are served",
		Do:    []string{"to cut them too, end the old process: kill -TERM its number, twice; the new one is not touched by it"},
	}
	NotYourRelay = &Advice{
		Shown: "cannot reach the relay at …/api.sock: … permission denied",
		Do:    []string{"the levers are for root and the user who runs the relay: with sudo"},
	}
)

// The advice for what devices and visitors make the relay hold.
var (
	MemoryNotThere = &Advice{
		Shown: "memory is … MiB, and this process may have … MiB in all",
		Means: "by GOMEMLIMIT, by its control group, or since the machine has no more",
		Do:    []string{"the system ends a process that takes more than there is: set memory to half of it, or leave it out, which does the same"},
	}
	MemoryUsedUp = &Advice{
		Shown: "the memory for links and visitors is used up; some are refused",
		Means: "visitors do not take what devices send, or devices not what visitors send; or they are many",
		Do:    []string{"give the machine, or the unit's MemoryMax, more memory, or set memory in relay.yaml; keystay_memory_bytes shows its use"},
	}
	DescriptorsUsedUp = &Advice{
		Shown: "descriptors are nearly used up: new connections are let go, whoever is connected stays",
		Means: "each visitor takes one, or two on a lane, and each link one; the last are kept for the relay's own files and sockets, those before them for links",
		Do:    []string{"raise LimitNOFILE= of the unit, or ulimit -n; or lower limits.address.connections, where few addresses hold many; keystay_connections_total and process_open_fds show the use"},
	}
	LimitsMet = &Advice{
		Shown: "limits were met",
		Means: "an address, an identity or a name has more than its part, or wants it; the line says how often in the last minute",
		Do:    []string{"look at which limit it is, and in docs/running-a-relay.md at what it protects; raise it under limits in relay.yaml if those are honest, and put a proxy in front of this relay into limits.exempt"},
	}
	TooManyLinks = &Advice{
		Shown: "a device has too many links; those beyond are refused",
		Means: "a run keeps 2 links to a relay, and all replicas of a device together may have 64",
		Do:    []string{"look at what runs with that identity: a key may have been copied to too many machines"},
	}
)
