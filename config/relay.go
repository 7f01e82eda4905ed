package config

import (
	"time"

	"keystay/internal/signin"
)

// Relay is the configuration of a relay. Its values have been checked and
// normalised by [LoadRelay]. Paths are ready to open.
type Relay struct {
	// Domain is the relay's own name and the zone below which it gives out
	// names: a host name of two labels or more, in lower case, without a
	// trailing dot, as A-labels. It has no default.
	Domain string `mapstructure:"domain"`

	// Listen is where visitors and remotes connect, each host:port; an empty
	// host is every address and port 0 any free port. At least one; the
	// default is ":443".
	Listen []string `mapstructure:"listen"`

	// HTTPListen is where plain HTTP is answered: browsers are sent to https,
	// ACME HTTP-01 challenges are passed on. The default is ":80"; empty is
	// off.
	HTTPListen []string `mapstructure:"http_listen"`

	// StateDir is the folder of certificates, grants and the control socket.
	// The default is /var/lib/keystay.
	StateDir string `mapstructure:"state_dir"`

	// Names says who may take names below Domain.
	Names Names `mapstructure:"names"`

	// Tokens are what the operator gave out in files, with the names each may take,
	// beside those of "relay token". They count where Names.Policy is "token".
	Tokens []Token `mapstructure:"tokens"`

	// Limits are what one address, one identity and one name may take.
	Limits Limits `mapstructure:"-"`

	// ACME is where the certificate for Domain comes from, unless TLS is set.
	ACME ACME `mapstructure:"acme"`

	// TLS names the files of a certificate for Domain, instead of ACME.
	TLS TLS `mapstructure:"tls"`

	// Admin is the operator's address: the page, metrics and readiness.
	Admin Admin `mapstructure:"admin"`

	// Metrics is what its /metrics shows.
	Metrics Metrics `mapstructure:"metrics"`

	// Site is the page on the relay's own name.
	Site Site `mapstructure:"site"`

	// ProxyProtocol says which proxies stand before the relay.
	ProxyProtocol ProxyProtocol `mapstructure:"proxy_protocol"`

	// Static are names that lead to servers of the operator's own, which no device
	// gets.
	Static []Static `mapstructure:"static"`

	// Fallback is where names lead that are neither below Domain nor given out.
	Fallback Fallback `mapstructure:"fallback"`

	// Siblings are relays of other owners, by default none.
	Siblings []Sibling `mapstructure:"siblings"`

	// TCPPorts are the public TCP ports that devices may have for what has no server
	// name, 1024 to 65535 and none that the relay listens on by itself; by default none.
	TCPPorts PortRange `mapstructure:"-"`

	// Cluster makes several machines one relay.
	Cluster Cluster `mapstructure:"cluster"`

	// Log is how much is logged to stderr, and how.
	Log Log `mapstructure:"log"`

	// DrainTimeout is how long visitors may finish when the relay is told to
	// stop: 30 seconds by default, up to [MaxDrain]; 0 cuts them at once.
	DrainTimeout time.Duration `mapstructure:"-"`

	// TakeoverDrain is how long visitors may finish in a process that another
	// one has taken over from: an hour by default, up to [MaxDrain]; 0 cuts
	// them at once.
	TakeoverDrain time.Duration `mapstructure:"-"`

	// Reload is "keep" (the default), where a change of what takes another process is
	// told and left, or "takeover", where the relay starts one that takes over.
	Reload string `mapstructure:"reload"`

	// DefaultName is the name below Domain that visitors get who send no name, or
	// an address; empty, the default, refuses them.
	DefaultName string `mapstructure:"default_name"`

	// Memory is how many bytes links, unfinished hellos and visitors who wait may
	// make the relay hold together: at least [MinMemory], or 0, the default, for
	// half of what the process may have.
	Memory int64 `mapstructure:"-"`

	// Lanes is "auto" (the default), where bulk moves to connections of its
	// own that remotes dial, or "off".
	Lanes string `mapstructure:"lanes"`

	// Abuse is the public contact for complaints: a mailto: or https: URL, or
	// empty for none. A mail address given alone has become a mailto: URL.
	Abuse string `mapstructure:"abuse"`
}

// Names says who may take names below the relay's domain.
type Names struct {
	// Policy is "open" (first come, kept for the identity; the default),
	// "token" (only with one of the tokens) or "closed" (nobody new).
	Policy string `mapstructure:"policy"`

	// KeyNames is who may have the name made from a device's own key: "open" (every
	// device; the default), "token" (with any valid token) or "off" (nobody).
	KeyNames string `mapstructure:"key_names"`

	// Reserved are patterns of names that only a token gives out that has the very
	// name, beside the built-in list: labels below Domain, in which a star stands for
	// any characters.
	Reserved []string `mapstructure:"reserved"`

	// ExpireUnused is how long a name is kept for a device that is not seen: 8760h,
	// a year, by default, from [MinExpire] to [MaxExpire].
	ExpireUnused time.Duration `mapstructure:"-"`

	// CertificatesPerWeek is how many new names of the zone may have their first
	// certificate in 7 days: 50 by default, which is the limit of Let's Encrypt for a
	// registered domain; 0 is no limit.
	CertificatesPerWeek int `mapstructure:"-"`

	// CustomDomains gives domains that are not below Domain to the devices that their
	// DNS names, as Policy says who may have one; true by default.
	CustomDomains bool `mapstructure:"-"`

	// Resolvers are the DNS servers that are asked for them, each ip:port, up to
	// [MaxResolvers]; without any those of /etc/resolv.conf.
	Resolvers []string `mapstructure:"resolvers"`

	// Webhook is the outside decision about new names, or empty.
	Webhook Webhook `mapstructure:"webhook"`
}

// Webhook is a server that decides about new names.
type Webhook struct {
	// URL is where it is asked: https, or http on this machine. Empty is off.
	URL string `mapstructure:"url"`

	// SecretFile is the file that holds the key of the signatures, one line of
	// [MinSecret] bytes or more.
	SecretFile string `mapstructure:"secret_file"`

	// Remember is how long an answer counts for the same question: 1m by default, up
	// to [MaxRemember]; 0 asks each time.
	Remember time.Duration `mapstructure:"-"`

	// Secret is what SecretFile holds, without the line's end.
	Secret Secret `mapstructure:"-"`
}

// Token is a secret that the operator gave out.
type Token struct {
	// SecretFile is the file that holds the secret, one line of 8 to
	// [MaxSecret] bytes; with fewer than 16 the relay warns.
	SecretFile string `mapstructure:"secret_file"`

	// Names are the names it may take: whole names below the domain
	// ("xyz.relay.net") or all names below one ("*.team.relay.net"), at least
	// one, normalised like Domain.
	Names []string `mapstructure:"names"`

	// Secret is what SecretFile holds, without the line's end.
	Secret Secret `mapstructure:"-"`
}

// ACME is a certificate authority and the account with it.
type ACME struct {
	// CA is the https URL of the directory (RFC 8555, section 7.1.1), or empty
	// for Let's Encrypt.
	CA string `mapstructure:"ca"`

	// CARoot is a PEM file of roots to trust for the CA's API, or empty for
	// the system's.
	CARoot string `mapstructure:"ca_root"`

	// Email is the account's contact, or empty for none.
	Email string `mapstructure:"email"`

	// EAB binds the account to one that the CA already knows.
	EAB EAB `mapstructure:"eab"`
}

// EAB is an external account binding (RFC 8555, section 7.3.4). Both fields
// are set or none.
type EAB struct {
	// KID is the key identifier that the CA gave out.
	KID string `mapstructure:"kid"`

	// HMAC is the key that the CA gave out, as base64url without padding.
	HMAC Secret `mapstructure:"hmac"`
}

// TLS names the files of a certificate. Both fields are set or none.
type TLS struct {
	// CertFile is a PEM file with the certificate and its chain.
	CertFile string `mapstructure:"cert_file"`

	// KeyFile is a PEM file with the certificate's private key.
	KeyFile string `mapstructure:"key_file"`
}

// Admin is the operator's address: the page, metrics and readiness.
type Admin struct {
	// Listen is its host:port, by default "127.0.0.1:9440", or empty for off.
	Listen string `mapstructure:"listen"`

	// Pprof shows profiles of the process there, on a loopback address only.
	Pprof bool `mapstructure:"-"`

	// PasswordFile has lines of USER:HASH, as htpasswd -B writes them: those may sign in
	// on the page, and change things. Without one the page only shows, on this machine
	// alone.
	PasswordFile string `mapstructure:"password_file"`

	// Users are those of PasswordFile; nil without one.
	Users *signin.Passwords `mapstructure:"-"`

	// Hosts are further names by which the address may be asked, as a proxy in front of
	// it passes them on, [MaxAdminHosts] at most, normalised.
	Hosts []string `mapstructure:"hosts"`
}

// Metrics is what the metrics show beyond counts.
type Metrics struct {
	// PerName is how many names have counts of their own: none by default, up to
	// [MaxPerName].
	PerName int `mapstructure:"-"`
}

// MaxPerName is the most that Metrics.PerName may be.
const MaxPerName = 10000

// MaxAdminHosts is how many names Admin.Hosts may have.
const MaxAdminHosts = 16

// Site is the page on the relay's own name.
type Site struct {
	// WordsFile has what the operator says there, plain text of [MaxWords] bytes at
	// most; empty is nothing.
	WordsFile string `mapstructure:"words_file"`

	// Words is what WordsFile holds.
	Words string `mapstructure:"-"`
}

// MaxWords is how many bytes of text an operator may put on the relay's page.
const MaxWords = 16 << 10

// Log is how much is logged, and how.
type Log struct {
	// Level is "debug", "info" (the default), "warn" or "error".
	Level string `mapstructure:"level"`

	// Format is "text" (the default) or "json".
	Format string `mapstructure:"format"`
}
