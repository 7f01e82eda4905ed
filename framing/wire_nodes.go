package framing

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// MaxNodes is how many nodes NODES may tell of.
const MaxNodes = 64

// The longest fields of NODES, in bytes.
const (
	maxNodeName    = 63
	maxNodeAddress = 261 // a host name, a colon and a port
	maxRegion      = 63
)

// FullLoad is the load of a node that carries all that it is meant to.
const FullLoad = 1000

// nodesMinor is the first minor version that knows NODES.
const nodesMinor = 4

// Nodes is what a relay that runs on several machines tells a remote of them.
type Nodes struct {
	Own  string // the name of the node that the link leads to, at most 63 bytes
	List []Node // at most MaxNodes, the own one among them; each name once
}

// A Node is one of a relay's nodes. Its text is for people, too, and all of it prints.
type Node struct {
	Name    string // 1 to 63 bytes
	Address string // host:port to dial for this very node, at most 261 bytes; the relay's own name stays what is verified
	Region  string // where it stands, at most 63 bytes; may be empty
	Weight  uint16 // its share of the links beside the others'; 0: it takes no new ones, and those that it has are to move
	Load    uint16 // thousandths of what it is meant to carry; FullLoad is all, and it may be more
}

// Check returns an error for what NODES cannot carry: more than MaxNodes nodes, one of
// them twice, or a field that is too long, empty though it must not be, or does not print.
func (n Nodes) Check() error {
	if len(n.List) > MaxNodes {
		return fmt.Errorf("%d nodes, at most %d", len(n.List), MaxNodes)
	}
	if len(n.Own) > maxNodeName || !prints(n.Own) {
		return fmt.Errorf("own node %q: a name of at most %d bytes", n.Own, maxNodeName)
	}
	seen := make(map[string]bool)
	for _, one := range n.List {
		switch {
		case one.Name == "" || len(one.Name) > maxNodeName || len(one.Address) > maxNodeAddress || len(one.Region) > maxRegion:
			return fmt.Errorf("a node with a name of %d, an address of %d and a region of %d bytes, at most %d, %d and %d",
				len(one.Name), len(one.Address), len(one.Region), maxNodeName, maxNodeAddress, maxRegion)
		case !prints(one.Name) || !prints(one.Address) || !prints(one.Region):
			return fmt.Errorf("node %q: text that does not print", one.Name)
		case seen[one.Name]:
			return fmt.Errorf("node %q: there twice", one.Name)
		}
		seen[one.Name] = true
	}
	return nil
}

// prints reports whether text is safe to show as it is.
func prints(s string) bool { return shown([]byte(s)) == s }

// record encodes n, which Check has passed.
func (n *Nodes) record() []byte {
	return encode(recNodes, func(b *cryptobyte.Builder) {
		str8(b, []byte(n.Own))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, one := range n.List {
				b.AddUint16LengthPrefixed(one.add)
			}
		})
	})
}

func (n *Node) add(b *cryptobyte.Builder) {
	str8(b, []byte(n.Name))
	str16(b, []byte(n.Address))
	str8(b, []byte(n.Region))
	b.AddUint16(n.Weight)
	b.AddUint16(n.Load)
}

func parseNodes(p []byte) (n Nodes, err error) {
	var own, list []byte
	s := cryptobyte.String(p)
	if !readStr8(&s, &own) || !readStr16(&s, &list) {
		return n, protocolErrorf("short NODES")
	}
	n.Own = string(own)
	for entries := cryptobyte.String(list); !entries.Empty() && len(n.List) <= MaxNodes; {
		var entry cryptobyte.String
		var one Node
		if !entries.ReadUint16LengthPrefixed(&entry) || !one.read(entry) {
			return Nodes{}, protocolErrorf("short NODES")
		}
		n.List = append(n.List, one)
	}
	if err := n.Check(); err != nil {
		return Nodes{}, protocolErrorf("NODES: %v", err)
	}
	return n, nil
}

func (n *Node) read(s cryptobyte.String) bool {
	var name, address, region []byte
	ok := readStr8(&s, &name) && readStr16(&s, &address) && readStr8(&s, &region) && s.ReadUint16(&n.Weight) && s.ReadUint16(&n.Load)
	n.Name, n.Address, n.Region = string(name), string(address), string(region)
	return ok
}
