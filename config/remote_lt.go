package config

import (
	"net"
	"strings"

	"github.com/spf13/pflag"
)

// ltFlags adds the flags of localtunnel's lt, for those who come from there. They are
// in no list, and each is another word for a flag of ours.
func ltFlags(fs *pflag.FlagSet) {
	fs.StringP("port", "p", "", "the `PORT` of the local service, as lt has it: --local")
	fs.StringP("subdomain", "s", "", "the `LABEL` of the name below the relay, as lt has it: --domain")
	fs.String("host", "", "the `URL` of the relay, as lt has it: --relay")
	for _, name := range []string{"port", "subdomain", "host"} {
		_ = fs.MarkHidden(name) // it has just been added
	}
}

// fromLT gives our flags what was said with lt's.
func fromLT(fs *pflag.FlagSet) (errs Errors) {
	if fs == nil || fs.Lookup("subdomain") == nil {
		return nil
	}
	set := func(flag, value string) {
		if fs.Changed(flag) {
			errs = append(errs, &Error{From: "--" + flag, Message: "the same is said with a flag of lt too", Hints: []string{"say it with --" + flag + " alone"}})
			return
		}
		_ = fs.Set(flag, value) // it takes any text
	}
	text := func(flag string) string { return fs.Lookup(flag).Value.String() }
	if fs.Changed("host") {
		host := text("host")
		if _, rest, ok := strings.Cut(host, "://"); ok {
			host = rest
		}
		set("relay", strings.TrimSuffix(host, "/"))
	}
	if fs.Changed("subdomain") {
		name := text("subdomain")
		if relays, err := fs.GetStringSlice("relay"); err == nil && len(relays) > 0 && !strings.Contains(name, ".") {
			zone := relays[0]
			if host, _, err := net.SplitHostPort(zone); err == nil {
				zone = host
			}
			name += "." + zone
		}
		set("domain", name)
	}
	if fs.Changed("port") {
		set("local", text("port"))
	}
	return errs
}
