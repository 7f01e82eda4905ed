package framing

// TellNodes tells the remote of the relay's nodes, in the place of what it was told
// before; a remote of a minor version before 4 is told nothing. N must be what
// Nodes.Check passes. It never blocks. It reports false where the link has no room for
// it now: then the remote is to be told later, if the link is still up. Only a relay's
// link tells, after Welcome.
func (l *Link) TellNodes(n Nodes) bool {
	return l.peerMinor < nodesMinor || l.sender.send(n.record())
}

// handleNodes is NODES, at the remote.
func (l *Link) handleNodes(p []byte) error {
	n, err := parseNodes(p)
	if err != nil {
		return err
	}
	if told := l.handler.Nodes; told != nil {
		told(n)
	}
	return nil
}
