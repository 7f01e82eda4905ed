package operator

import (
	"net/netip"
	"time"

	"keystay/relay/names"
)

// The JSON of the API. Fields are added to it, and never changed: see
// docs/control-api.md.

// A Status is the answer of GET /v1/status.
type Status struct {
	State   string    `json:"state"` // "serving" or "draining"
	Ready   bool      `json:"ready"` // remotes can come in
	Why     string    `json:"why,omitempty"`
	Domain  string    `json:"domain"`
	Policy  string    `json:"policy"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`

	// Node is the name of this node, where the relay runs on several machines, and
	// NodesConnected how many others are connected of NodesListed that are in their list.
	Node           string `json:"node,omitempty"`
	NodesConnected int    `json:"nodes_connected,omitempty"`
	NodesListed    int    `json:"nodes_listed,omitempty"`

	CertificateUntil *time.Time `json:"certificate_until,omitempty"`
	Sockets          []Socket   `json:"sockets"`

	// Certificates is what is left of the CA's limit for new names of the zone; none
	// where there is no limit, or it cannot be told now.
	Certificates *Certificates `json:"certificates,omitempty"`

	Links         int   `json:"links"`
	NamesUp       int   `json:"names_up"`
	Visitors      int   `json:"visitors"`
	VisitorsTotal int64 `json:"visitors_total"`
	RefusedTotal  int64 `json:"refused_total"`
	LanesTotal    int64 `json:"lanes_total"`
	Panics        int64 `json:"panics"`
	// RefusedFor is RefusedTotal by reason, of those that there were.
	RefusedFor map[string]int64 `json:"refused_for,omitempty"`
	BytesIn    int64            `json:"bytes_to_remotes"`
	BytesOut   int64            `json:"bytes_to_visitors"`
	// LimitsMet is how often each limit was met, of those that were.
	LimitsMet   map[string]int64 `json:"limits_met,omitempty"`
	Memory      int64            `json:"memory_bytes"`
	MemoryLimit int64            `json:"memory_limit_bytes"`
}

// Certificates is how many first certificates of new names there may be.
type Certificates struct {
	PerWeek int `json:"per_week"`
	Left    int `json:"left"`    // now
	Waiting int `json:"waiting"` // names that may have theirs later
	// NextIn is in how many seconds the next new name may have one.
	NextIn int64 `json:"next_in_seconds"`
}

// A Socket is one that the relay listens on.
type Socket struct {
	For  string `json:"for"`
	Addr string `json:"addr"`
}

// Remotes is the answer of GET /v1/remotes.
type Remotes struct {
	Remotes []Remote `json:"remotes"`
	Next    string   `json:"next,omitempty"`
}

// A Remote is one run of a device that is connected.
type Remote struct {
	Identity string   `json:"identity"`
	Run      uint64   `json:"run"`
	Agent    string   `json:"agent"`
	Names    []string `json:"names"`
	Links    []Link   `json:"links"`
}

// A Link is one of a Remote's.
type Link struct {
	Address netip.AddrPort `json:"address"`
	Since   time.Time      `json:"since"`
	RTT     float64        `json:"rtt_ms"` // 0 while unknown
	Streams int            `json:"streams"`
	Lanes   int            `json:"lanes"`
	Away    bool           `json:"away,omitempty"`
}

// A Kick is the body of POST /v1/remotes/kick. Exactly one of its first three fields
// is given.
type Kick struct {
	Identity string `json:"identity,omitempty"`
	Name     string `json:"name,omitempty"`
	Address  string `json:"address,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Severed says what a lever has ended: in the answer of a kick, a ban and a
// revocation.
type Severed struct {
	Links    int `json:"links"`
	Names    int `json:"names"`
	Visitors int `json:"visitors"`
	// Elsewhere is that the other nodes of the relay were told, too: what they have
	// ended is not counted.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// A Drain is the body of POST /v1/drain.
type Drain struct {
	Reason string `json:"reason,omitempty"`
}

// Draining is the answer of POST /v1/drain.
type Draining struct {
	Visitors int       `json:"visitors"`
	Until    time.Time `json:"until"` // then those that are left are cut
}

// A Copied is the answer of POST /v1/names/copy: where the copy is, and its size in
// bytes.
type Copied struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// Config is the answer of GET /v1/config.
type Config struct {
	Settings []Setting `json:"settings"`
}

// A Setting is one key of the configuration as it is in effect.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`          // "[redacted]" for a secret
	From  string `json:"from"`           // a flag, a variable, a file, or "default"
	Line  int    `json:"line,omitempty"` // in that file
}

// AuditPage is the answer of GET /v1/audit, the oldest first.
type AuditPage struct {
	Entries []Entry `json:"entries"`
}

// An Entry is one line of the audit log.
type Entry struct {
	Time time.Time `json:"time"`
	Node string    `json:"node,omitempty"` // that has written it, of several
	Who  string    `json:"who"`            // "user NAME (UID)", "page user NAME", "identity LABEL" or "relay"
	What string    `json:"what"`           // such as "remotes.kick" or "name.granted"
	On   string    `json:"on"`             // the name, the identity, the address range; may be empty
	// Identity is whose the name is, or was, where On is one.
	Identity string `json:"identity,omitempty"`
	Reason   string `json:"reason"` // as it was given; may be empty
	Result   string `json:"result"` // "done", or why not
}

// Problem is the answer when something was not done.
type Problem struct {
	Error string   `json:"error"`
	Hints []string `json:"hints,omitempty"`
}

// NamesPage is the answer of GET /v1/names, in the order of the names.
type NamesPage struct {
	Names []names.Grant `json:"names"`
	Next  string        `json:"next,omitempty"`
}

// A Grant is a name that was given out, as the record has it.
type Grant = names.Grant

// A Token is one of the record, without its secret.
type Token = names.TokenInfo

// A Name is the answer of GET /v1/names/NAME: what there is of it.
type Name struct {
	Name    string       `json:"name"`
	Grant   *names.Grant `json:"grant,omitempty"`
	Ban     *names.Ban   `json:"ban,omitempty"`
	Remotes []Remote     `json:"remotes"` // that serve it now
}

// Reserved is the answer of GET /v1/names/reserved, beside the built-in list and the
// configuration.
type Reserved struct {
	Reserved []names.Reservation `json:"reserved"`
}

// A Reserve is the body of POST /v1/names/reserve and, without a note, of POST
// /v1/names/unreserve.
type Reserve struct {
	Pattern string `json:"pattern"`
	Note    string `json:"note,omitempty"`
}

// A Release is the body of POST /v1/names/release; its answer is the grant that was.
type Release struct {
	Name   string `json:"name"`
	Free   bool   `json:"free,omitempty"` // at once, and not after the time of grace
	Reason string `json:"reason,omitempty"`
}

// A Ban is the body of POST /v1/names/ban, /v1/identities/ban and /v1/addresses/ban.
type Ban struct {
	Of     string `json:"of"` // the name, the identity or the address range
	Reason string `json:"reason,omitempty"`
	// For is how long, as in "90m", "24h" or "30d"; without it, for good.
	For string `json:"for,omitempty"`
}

// Banned is the answer of a Ban.
type Banned struct {
	Ban     names.Ban `json:"ban"`
	Severed Severed   `json:"severed"`
}

// An Unban is the body of POST /v1/names/unban, /v1/identities/unban and
// /v1/addresses/unban.
type Unban struct {
	Of     string `json:"of"`
	Reason string `json:"reason,omitempty"`
}

// Bans is the answer of GET /v1/names/banned, /v1/identities and /v1/addresses.
type Bans struct {
	Bans []names.Ban `json:"bans"`
	Next string      `json:"next,omitempty"`
}

// Tokens is the answer of GET /v1/tokens: those of the record, not of the
// configuration.
type Tokens struct {
	Tokens []names.TokenInfo `json:"tokens"`
}

// A NewToken is the body of POST /v1/tokens/create.
type NewToken struct {
	Names   []string          `json:"names"`             // whole ones, or "*." and a name
	Expires string            `json:"expires,omitempty"` // in so long, as in "30d"; without it, never
	Uses    int               `json:"uses,omitempty"`    // how many names it opens; 0 is any number
	Bind    bool              `json:"bind,omitempty"`    // to the first identity that uses it
	Note    string            `json:"note,omitempty"`
	Limits  map[string]string `json:"limits,omitempty"` // in the place of those of the configuration
}

// CreatedToken is the answer: the one time that the secret is shown.
type CreatedToken struct {
	Secret string          `json:"secret"`
	Token  names.TokenInfo `json:"token"`
}

// A Revoke is the body of POST /v1/tokens/revoke.
type Revoke struct {
	ID     string `json:"id"`
	Names  bool   `json:"names,omitempty"` // the names that it has opened go, too
	Reason string `json:"reason,omitempty"`
}

// Revoked is the answer of a Revoke.
type Revoked struct {
	Released []string `json:"released"` // names
}
