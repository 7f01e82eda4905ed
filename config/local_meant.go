package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"keystay/internal/hint"
)

// meantLocal says what a person most likely meant by s, which is no local
// service, or nothing.
func meantLocal(s string) string {
	scheme, rest, colon := strings.Cut(s, ":")
	known := colon && isScheme(scheme)
	bare := strings.TrimLeft(rest, "/")
	first, more, several := strings.Cut(s, ",")
	at := strings.LastIndex(s, ":")
	command := hint.Nearest(s, []string{"version", "completion", "help"})
	switch {
	case scheme == "redirect" && !strings.Contains(rest, ":") && strings.Contains(rest, ".") && isLocal("redirect:https://"+bare):
		return fmt.Sprintf("did you mean %q?", "redirect:https://"+bare)
	case command != "":
		return "did you mean remote " + command + "?"
	case isSocketPath(s):
		return fmt.Sprintf("did you mean %q?", "unix:"+s)
	case colon && (scheme == "ws" || scheme == "wss") && isLocal(strings.Replace(s, "ws", "http", 1)):
		return fmt.Sprintf("did you mean %q? WebSockets go there too", strings.Replace(s, "ws", "http", 1))
	case known && bare == "":
		return "a host or a port is missing, as in " + scheme + "://127.0.0.1:3000"
	case known && isPort(bare):
		return fmt.Sprintf("did you mean %q?", scheme+"://127.0.0.1:"+bare)
	case known && !strings.HasPrefix(rest, "//"):
		return fmt.Sprintf("did you mean %q?", scheme+"://"+bare)
	case several && isLocal(first) && isLocal(more):
		return "give each with a --local and a --domain or --name of its own"
	case at > 0 && isIPv6(s[:at]) && isLocal("["+s[:at]+"]"+s[at:]):
		return fmt.Sprintf("did you mean %q?", "["+s[:at]+"]"+s[at:])
	case isIPv6(s):
		return "with its port, as in [" + s + "]:3000"
	case scheme == "unix" && rest != "":
		if whole, err := filepath.Abs(rest); err == nil {
			return fmt.Sprintf("did you mean %q?", "unix:"+whole)
		}
	}
	return ""
}

// isScheme reports whether word stands before :// in a local service.
func isScheme(word string) bool {
	return slices.Contains([]string{"http", "https", "https+insecure", "h2c", "tcp", "tls"}, strings.ToLower(word))
}

// errPassword is that of a URL with a password, which is not repeated.
var errPassword = errors.New("there is a password in the URL, which is not taken there")

// hasPassword reports whether what follows the scheme of a URL has a password.
func hasPassword(rest string) bool {
	at := strings.LastIndexByte(rest, '@')
	return at >= 0 && strings.Contains(rest[:at], ":")
}

// The mistakes in a host and a port, for hints.
var (
	errPath        = errors.New("has a path, and only whole services can be published")
	errPortMissing = errors.New("has no port")
	errNoPort      = errors.New("is no port")
	errColons      = errors.New("has too many colons")
)

// meantHostPort says what was most likely meant by s, where err says that its
// port or what is behind it is wrong, or nothing.
func meantHostPort(s string, err error) string {
	switch {
	case errors.Is(err, errPath):
		begin := strings.Index(s, "://") + 1
		if begin > 0 {
			begin += len("//")
		}
		if i := strings.IndexByte(s[begin:], '/'); i >= 0 && isLocal(s[:begin+i]) {
			return fmt.Sprintf("did you mean %q?", s[:begin+i])
		}
	case errors.Is(err, errColons):
		if parts := strings.SplitN(s, ":", 3); isLocal(parts[0] + ":" + parts[1]) {
			return fmt.Sprintf("a host and a port, as in %q", parts[0]+":"+parts[1])
		}
	case errors.Is(err, errNoPort):
		return "a port is a number from 1 to 65535"
	case !errors.Is(err, errPortMissing):
	case isCommand(s):
		return "the port is missing, as in remote 3000"
	case strings.HasSuffix(s, ".yaml"), strings.HasSuffix(s, ".yml"):
		return "did you mean remote --config " + s + "?"
	case s == "localhost", strings.Contains(s, ".") && isHost(s):
		return "with its port, as in " + s + ":3000"
	case isHost(s):
		if near := hint.Nearest(s, remoteCommands); near != "" && near != s {
			return "did you mean remote " + near + "? if it is a host, with its port, as in " + s + ":3000"
		}
		return "if it is a host, with its port, as in " + s + ":3000; the commands are " + strings.Join(remoteCommands, ", ")
	}
	return ""
}

func isLocal(s string) bool {
	_, err := ParseLocal(s)
	return err == nil
}

func isIPv6(s string) bool {
	ip, err := netip.ParseAddr(s)
	return err == nil && ip.Is6()
}
