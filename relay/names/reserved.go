package names

import (
	"slices"
	"strings"
)

// reservedLabels are labels that mean something to programs, or to people, and
// speak for the whole zone: whoever has one of them could take the zone's mail
// settings, its keys, or the trust in its operator. Each is reserved with a number
// after it, too: www2, mx01, ns10, smtp-1.
var reservedLabels = []string{
	// Programs look there without being asked.
	"autoconfig", "autodiscover", // settings of mail programs
	"enterpriseenrollment", "enterpriseregistration", "lyncdiscover", "msoid", // Microsoft's discovery
	"isatap", "wpad", // Windows looks for a tunnel, and for a proxy
	"localhost", "localdomain", "broadcasthost",
	"mta-sts",    // RFC 8461, section 3.3
	"openpgpkey", // the Web Key Directory, draft-koch-openpgp-webkey-service
	// Services of the zone itself.
	"caldav", "carddav", "cpanel", "dns", "ftp", "imap", "imaps", "kerberos", "ldap", "ldaps", "mail", "mx", "news", "ns", "ntp",
	"pop", "pop3", "pop3s", "pops", "sip", "sips", "smtp", "smtps", "ssh", "stun", "turn", "vpn", "webmail", "whm", "whois", "www", "xmpp",
	"ca", "crl", "ocsp", "pki", // its certificates
	// RFC 2142, and who else seems to speak for the operator.
	"abuse", "hostmaster", "mailer-daemon", "no-reply", "noc", "noreply", "postmaster", "security", "usenet", "webmaster",
	"account", "accounts", "admin", "administrator", "api", "auth", "billing", "help", "id", "info", "keystay", "login", "oauth", "official",
	"pay", "payment", "relay", "root", "secure", "signin", "signup", "sso", "ssladmin", "ssladministrator", "sslwebmaster",
	"static", "status", "support", "sysadmin", "system",
}

// reserved reports whether name, below zone, is one that no policy gives out
// unless the operator says so, or is below such a one.
func reserved(name, zone string) bool {
	label := strings.TrimSuffix(name, "."+zone)
	label = label[strings.LastIndexByte(label, '.')+1:]
	stem := strings.TrimSuffix(strings.TrimRight(label, "0123456789"), "-")
	return slices.Contains(reservedLabels, label) || slices.Contains(reservedLabels, stem)
}
