package names

import (
	"slices"
	"strings"
)

// reservedLabels are labels that mean something to programs, or to people, and
// speak for the whole zone: whoever has one of them could take the zone's mail
// settings, its keys, or the trust in its operator.
var reservedLabels = []string{
	// Programs look there without being asked.
	"autoconfig", "autodiscover", // settings of mail programs
	"isatap", "wpad", // Windows looks for a tunnel, and for a proxy
	"localhost", "localdomain", "broadcasthost",
	"mta-sts",    // RFC 8461, section 3.3
	"openpgpkey", // the Web Key Directory, draft-koch-openpgp-webkey-service
	// Services of the zone itself.
	"dns", "ftp", "imap", "imaps", "mail", "mx", "news", "ntp", "pop", "pop3", "smtp", "smtps", "ssh", "webmail", "whois", "www",
	"ns", "ns0", "ns1", "ns2", "ns3", "ns4", "ns5", "ns6", "ns7", "ns8", "ns9",
	// RFC 2142, and who else seems to speak for the operator.
	"abuse", "hostmaster", "noc", "postmaster", "security", "usenet", "webmaster",
	"account", "accounts", "admin", "administrator", "api", "auth", "billing", "help", "info", "login", "official", "oauth",
	"pay", "payment", "relay", "root", "signin", "signup", "sso", "ssladmin", "ssladministrator", "sslwebmaster",
	"static", "status", "support", "sysadmin", "system",
}

// reserved reports whether name, below zone, is one that no policy gives out
// unless the operator says so, or is below such a one.
func reserved(name, zone string) bool {
	label := strings.TrimSuffix(name, "."+zone)
	return slices.Contains(reservedLabels, label[strings.LastIndexByte(label, '.')+1:])
}
