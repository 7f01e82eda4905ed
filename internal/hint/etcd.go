package hint

// ofEtcd is the part of the relay's table that is about etcd.
func ofEtcd() []*Advice {
	return []*Advice{EtcdAway, EtcdRefuses, EtcdFull, RecordForeign, RecordLarge, RecordOlder, RecordElsewhere, NoRecordKey, RecordThere, NoEtcd}
}

// The advice for a relay whose record of names is in etcd.
var (
	EtcdAway = &Advice{
		Shown: "the relay's etcd does not answer: …",
		Means: "what is up goes on; no new name is given out until it is back, which the relay notices by itself",
		Do:    []string{"see whether a majority of its members runs and can be reached from here: etcdctl endpoint health --cluster", "compare cluster.etcd in the configuration with etcd's own addresses, and see whether a firewall is in between"},
	}
	EtcdRefuses = &Advice{
		Shown: "etcd refuses: … permission denied, or: authentication failed",
		Do:    []string{"give the user of cluster.etcd a role that may read and write all keys below the prefix: see docs/etcd.md"},
	}
	EtcdFull = &Advice{
		Shown: "etcd refuses: … database space exceeded",
		Do:    []string{"compact and defragment etcd and disarm its alarm, or raise --quota-backend-bytes; and run it with --auto-compaction-retention=1h"},
	}
	RecordForeign = &Advice{
		Shown: "the record of names is damaged: what is in etcd is not what the nodes of this relay have written, or this node has another key",
		Means: "nothing new is given out; who is connected goes on",
		Do:    []string{"see whether this node has the same record key as the others", "if it has, something without that key has written to etcd: change etcd's passwords, and restore a snapshot of it"},
	}
	RecordLarge = &Advice{
		Shown: "the record of names is damaged: what is in etcd takes more than the … MiB of memory that this node has for it",
		Means: "nothing new is given out; who is connected goes on",
		Do:    []string{"see how many entries there are, with your prefix: etcdctl get --prefix --keys-only keystay/record/ | grep -c .", "if the relay has not so many names, something without the nodes' key has written to etcd: change etcd's passwords, and restore a snapshot of it", "if it has, give each node more memory: the record may take a quarter of it"},
	}
	RecordOlder = &Advice{
		Shown: "the record of names is damaged: etcd has an older one than this node has seen, or none",
		Means: "it would give names away that were given out since",
		Do:    []string{"see whether cluster.etcd leads to the right etcd", "if it was restored on purpose, take FILE away on each node and start it"},
	}
	RecordElsewhere = &Advice{
		Shown: "the record of names is damaged: it is the record of the relay …",
		Do:    []string{"give each relay that uses this etcd a cluster.etcd.prefix of its own"},
	}
	NoRecordKey = &Advice{
		Shown: "the key of the record of names: …",
		Means: "a relay with `cluster.etcd`: exit code 1",
		Do:    []string{"relay cluster init makes it on the first machine, and relay cluster join brings it to the others: FILE"},
	}
	RecordThere = &Advice{
		Shown: "there is a record with something in it already: …",
		Means: "`relay cluster import`: exit code 3; nothing was changed",
		Do:    []string{"give the relay a cluster.etcd.prefix of its own, or go on with the record that is there: relay names list"},
	}
	NoEtcd = &Advice{
		Shown: "there are no cluster.etcd.endpoints",
		Means: "`relay cluster import` and `export`: exit code 2",
		Do:    []string{"say in relay.yaml where etcd is, and give the file: --config FILE"},
	}
)
