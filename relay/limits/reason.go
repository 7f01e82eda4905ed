package limits

import "sync/atomic"

// A Reason is the limit that was met.
type Reason int

// The reasons.
const (
	None               Reason = iota
	AddressConnections        // too many connections at once
	AddressRate               // too many new connections
	AddressHellos             // too many unfinished hellos; the oldest went
	AddressLinks              // too many links at once
	AddressHandshakes         // too many handshakes of links
	AddressIdentities         // too many new identities
	AddressNames              // too many new names
	AddressDomains            // others were to be asked about too many names
	AddressTurns              // too many turns of replicas
	NameStreams               // too many visitors at once
	NameRate                  // too many new visitors
	NameBytes                 // the month's bytes are used up
	NameBandwidth             // a stream had to wait for its bytes
	IdentityStreams           // the same of an identity
	IdentityRate
	IdentityBytes
	IdentityBandwidth
	reasons
)

// words are the reasons as metrics and the log have them.
var words = [reasons]string{
	None: "none", AddressConnections: "address_connections", AddressRate: "address_rate", AddressHellos: "address_hellos",
	AddressLinks: "address_links", AddressHandshakes: "address_handshakes", AddressIdentities: "address_identities",
	AddressNames: "address_names", AddressDomains: "address_domains", AddressTurns: "address_turns", NameStreams: "name_streams", NameRate: "name_rate", NameBytes: "name_bytes",
	NameBandwidth: "name_bandwidth", IdentityStreams: "identity_streams", IdentityRate: "identity_rate",
	IdentityBytes: "identity_bytes", IdentityBandwidth: "identity_bandwidth",
}

// String returns the reason as metrics and the log have it, such as "address_rate".
func (r Reason) String() string { return words[r] }

// Reasons returns all but None.
func Reasons() []Reason {
	list := make([]Reason, 0, reasons-1)
	for r := None + 1; r < reasons; r++ {
		list = append(list, r)
	}
	return list
}

// Counts counts by reason. The zero value is ready.
type Counts struct{ met [reasons]atomic.Int64 }

// Add counts that a limit was met.
func (c *Counts) Add(r Reason) { c.met[r].Add(1) }

// Of returns how often a limit was met.
func (c *Counts) Of(r Reason) int64 { return c.met[r].Load() }
