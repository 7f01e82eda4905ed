package hint

// ofCluster is the part of Relay for a relay of several nodes.
func ofCluster() []*Advice {
	return []*Advice{NodeCertificate, NodeTaken, NoNode, IsNode, NoInvitation, NotJoined, NodeAsUser, NodesApart}
}

// The advice for the nodes of a cluster.
var (
	NodeCertificate = &Advice{
		Shown: "this node's certificate is not renewed; when it ends, other nodes refuse this one",
		Do: []string{"nodes renew their certificates at the node that has ca.key in state_dir/cluster: let that one run, and reach this one",
			"where it is gone for good, put ca.key from its backup into state_dir/cluster of another node",
			"certificates that were brought (cluster.tls) are renewed by whoever made them: replace the files, which are taken up within a minute"},
	}
	NodeTaken = &Advice{
		Shown: "node …: another machine is the node of that name, with the address …",
		Do: []string{"give one of the two another name: cluster.node in relay.yaml, and a certificate for it from relay cluster join",
			"where the other one has just stopped, start this one again in a quarter of a minute"},
	}
	NoNode = &Advice{
		Shown: "this machine has no node's certificate yet: open …",
		Do: []string{"on the first node of a cluster: relay cluster init",
			"on any other: relay cluster invite on the first one, and relay cluster join with what that prints here"},
	}
	IsNode = &Advice{
		Shown: "…: there is a node's certificate already",
		Do:    []string{"this machine is a node already; to make it one anew, move the folder cluster out of state_dir first"},
	}
	NoInvitation = &Advice{
		Shown: "not an invitation, as relay cluster invite prints it",
		Do:    []string{"relay cluster invite on the first node prints one: one long word, which has to be whole"},
	}
	NotJoined = &Advice{
		Shown: "the invitation is wrong, was used, or its time is over",
		Means: "`relay cluster join`; also where the node does not answer",
		Do: []string{"an invitation counts for an hour, and once: get another one with relay cluster invite",
			"see whether this machine reaches ADDRESS, where the node that has made it listens for others"},
	}
	NodeAsUser = &Advice{
		Shown: "… is another user's, who could not read what root writes there",
		Do:    []string{"run it as the user that the relay runs as: sudo -u '#UID' relay cluster …"},
	}
	NodesApart = &Advice{
		Shown: "… of the … other nodes in the list are connected",
		Means: "`relay check`",
		Do: []string{"relay cluster status says which are not, and why",
			"each node has to reach the address of each other one, cluster.address, through firewalls, too"},
	}
)
