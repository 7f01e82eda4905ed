package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A LocalKind says what a local service is.
type LocalKind int

// The kinds of local services.
const (
	LocalHTTP     LocalKind = iota // an HTTP service
	LocalTCP                       // what visitors send inside their TLS is passed on
	LocalTLS                       // what visitors send is passed on, still encrypted
	LocalFolder                    // the files of a folder
	LocalRedirect                  // another URL
	LocalText                      // a text
)

// A Local is a local service that a public name leads to.
type Local struct {
	// Kind says which of the fields count.
	Kind LocalKind

	// Folder is the whole path of a LocalFolder.
	Folder string

	// Text is that of a LocalText.
	Text string

	// Network is "tcp" or "unix", of what is dialled.
	Network string

	// Address is what to dial: host:port, or the path of a unix socket. Use
	// [Local.Addresses], which also knows where a bare port may be served.
	Address string

	// URL is where an HTTP request is sent: a scheme, "http" or "https", and a
	// host with its port as it was given; nothing else is set. The host of a
	// unix socket is "localhost". Of a LocalRedirect it is the whole URL to go to.
	URL *url.URL

	// Insecure says that the certificate of an https service is not checked.
	Insecure bool

	// H2C says that the service speaks HTTP/2 without TLS, and nothing else.
	// The scheme of URL is then "http".
	H2C bool

	// bare says that only a port was given.
	bare bool
}

// localForms is what ParseLocal takes, for hints.
const localForms = "3000, :3000, host:3000, http://…, https://…, https+insecure://…, h2c://…, unix:/path, tcp://host:port, tls://host:port, a folder (./x or /x), redirect:URL or text:…"

// ParseLocal reads a local service as a person types it: 3000, :3000,
// host:3000, http://host[:port], https://host[:port],
// https+insecure://host[:port], h2c://host[:port], unix:/path, tcp://host:port,
// tls://host:port, a folder as ./x or /x, redirect:URL or text:…. A missing port is
// the scheme's. A missing host is this machine. A folder starts at the working
// directory, and need not exist.
func ParseLocal(s string) (Local, error) { return parseLocal(s, "") }

// parseLocal is ParseLocal for folders that start at dir.
func parseLocal(s, dir string) (Local, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") && !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
			return Local{}, fmt.Errorf("%s names no whole path of a unix socket", quote(s))
		}
		return Local{Network: "unix", Address: path, URL: &url.URL{Scheme: "http", Host: "localhost"}}, nil
	}
	if isSocketPath(s) {
		return Local{}, fmt.Errorf("%s is a path", quote(s))
	}
	if isFolder(s) {
		return parseFolder(s, dir)
	}
	if text, ok := strings.CutPrefix(s, "text:"); ok {
		return Local{Kind: LocalText, Text: text}, nil
	}
	if to, ok := strings.CutPrefix(s, "redirect:"); ok {
		return parseRedirect(to)
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if ok && hasPassword(rest) {
		return Local{}, errPassword
	}
	if word, port, colon := strings.Cut(s, ":"); colon && isScheme(word) && isPort(port) {
		return Local{}, fmt.Errorf("%s is no local service", quote(s))
	}
	if !ok {
		return parseHostPort("http", s, "")
	}
	switch strings.ToLower(scheme) {
	case "http":
		return parseHostPort("http", rest, "80")
	case "https":
		return parseHostPort("https", rest, "443")
	case "https+insecure":
		l, err := parseHostPort("https", rest, "443")
		l.Insecure = err == nil
		return l, err
	case "h2c":
		l, err := parseHostPort("http", rest, "80")
		l.H2C = err == nil
		return l, err
	case "tcp":
		return parseRaw(LocalTCP, rest)
	case "tls":
		return parseRaw(LocalTLS, rest)
	}
	return Local{}, fmt.Errorf("%s is no local service", quote(s))
}

// isFolder reports whether s is written as a folder is.
func isFolder(s string) bool {
	if s == "." || s == ".." || s == "~" || filepath.IsAbs(s) {
		return true
	}
	for _, begin := range []string{"./", "../", "/", "~/"} {
		if strings.HasPrefix(s, begin) || strings.HasPrefix(filepath.ToSlash(s), begin) {
			return true
		}
	}
	return false
}

// parseFolder reads the path of a folder, which starts at dir where it is not whole.
func parseFolder(s, dir string) (Local, error) {
	if strings.ContainsRune(s, 0) {
		return Local{}, fmt.Errorf("%s is no path", quote(s))
	}
	path := s
	if rest, ok := strings.CutPrefix(s, "~"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return Local{}, fmt.Errorf("%s: %w", quote(s), err)
		}
		path = home + rest
	} else if !filepath.IsAbs(s) {
		path = filepath.Join(dir, s)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Local{}, fmt.Errorf("%s: %w", quote(s), err)
	}
	return Local{Kind: LocalFolder, Folder: path}, nil
}

// parseRedirect reads the URL that visitors are sent to.
func parseRedirect(to string) (Local, error) {
	u, err := url.Parse(to)
	if _, rest, ok := strings.Cut(to, "://"); ok {
		if host, _, _ := strings.Cut(rest, "/"); hasPassword(host) {
			return Local{}, errPassword
		}
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return Local{}, fmt.Errorf("%s is no http:// or https:// URL to go to", quote(to))
	}
	return Local{Kind: LocalRedirect, URL: u}, nil
}

// parseRaw reads where connections are passed on to as they are.
func parseRaw(kind LocalKind, rest string) (Local, error) {
	l, err := parseHostPort("http", rest, "")
	l.Kind, l.URL = kind, nil
	return l, err
}

// isSocketPath reports whether s is the whole path of a unix socket, by its name
// or as it lies there, without the scheme.
func isSocketPath(s string) bool {
	if !filepath.IsAbs(s) {
		return false
	}
	info, err := os.Stat(s)
	return err == nil && info.Mode().Type() == fs.ModeSocket || strings.HasSuffix(s, ".sock") || strings.HasSuffix(s, ".socket")
}

// parseHostPort reads what follows the scheme. A missing port is port, if that
// is not empty.
func parseHostPort(scheme, s, port string) (Local, error) {
	whole := s
	if s == "" {
		return Local{}, errors.New("empty")
	}
	s, path, _ := strings.Cut(s, "/")
	if path != "" {
		return Local{}, fmt.Errorf("%s %w", quote(whole), errPath)
	}
	var host string
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	} else if _, err := strconv.ParseUint(s, 10, 64); err == nil && port == "" {
		host, port = "", s
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	}
	if strings.Count(host, ":") > 1 && !isHost(host) {
		return Local{}, fmt.Errorf("%s %w", quote(whole), errColons)
	}
	if port == "" {
		return Local{}, fmt.Errorf("%s %w", quote(whole), errPortMissing)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Local{}, fmt.Errorf("%s %w", quote(port), errNoPort)
	}
	bare := host == ""
	if bare {
		host = "127.0.0.1"
	}
	if !isHost(host) {
		return Local{}, fmt.Errorf("%s is no host", quote(host))
	}
	address := net.JoinHostPort(host, port)
	l := Local{Network: "tcp", Address: address, URL: &url.URL{Scheme: scheme, Host: address}, bare: bare}
	if scheme == "http" && port == "80" || scheme == "https" && port == "443" {
		l.URL.Host = strings.TrimSuffix(address, ":"+port)
	}
	return l, nil
}

// Addresses returns what to dial on Network, in this order, until one answers.
// A bare port is looked for on 127.0.0.1 and then on ::1, since some servers
// listen on one of them only.
func (l Local) Addresses() []string {
	if l.bare {
		_, port, _ := net.SplitHostPort(l.Address)
		return []string{l.Address, net.JoinHostPort("::1", port)}
	}
	return []string{l.Address}
}

// String returns the form that is shown to people, as in
// "http://127.0.0.1:3000", or "" for the zero Local.
func (l Local) String() string {
	switch {
	case l.Kind == LocalFolder:
		return l.Folder
	case l.Kind == LocalText:
		return "text:" + l.Text
	case l.Kind == LocalRedirect:
		return "redirect:" + l.URL.String()
	case l.Kind == LocalTCP:
		return "tcp://" + l.Address
	case l.Kind == LocalTLS:
		return "tls://" + l.Address
	case l.Network == "":
		return ""
	case l.Network == "unix":
		return "unix:" + l.Address
	case l.Insecure:
		return l.URL.Scheme + "+insecure://" + l.URL.Host
	case l.H2C:
		return "h2c://" + l.URL.Host
	}
	return l.URL.Scheme + "://" + l.URL.Host
}

// IsRaw reports whether connections are passed on to the service as they are.
func (l Local) IsRaw() bool { return l.Kind == LocalTCP || l.Kind == LocalTLS }
