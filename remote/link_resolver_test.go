package remote

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keystay/internal/hint"
)

// Where nothing names a DNS server, the file that should is named, and a way to
// go without it.
func TestUnresolvedNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	absent := filepath.Join(dir, "absent")
	empty := write("empty", "")
	comments := write("comments", "# nameserver 192.0.2.1\nsearch test\nnameserver\n")
	good := write("good", "search test\nnameserver 127.0.0.1\n")
	for _, c := range []struct {
		err  net.DNSError
		file string
		want []string
	}{
		{net.DNSError{IsNotFound: true, Server: "127.0.0.1:53"}, absent, hint.RelayHasNoAddress.Do},
		{net.DNSError{Server: "127.0.0.1:53"}, absent, hint.NoResolver.With("FILE", absent)},
		{net.DNSError{Server: "[::1]:53", IsTimeout: true}, absent, hint.NoResolver.With("FILE", absent)},
		{net.DNSError{Server: "127.0.0.1:53"}, empty, hint.NoResolver.With("FILE", empty)},
		{net.DNSError{Server: "127.0.0.1:53"}, comments, hint.NoResolver.With("FILE", comments)},
		{net.DNSError{Server: "127.0.0.1:53"}, good, hint.ResolverAway.Do},
		{net.DNSError{Server: "192.0.2.1:53", IsTimeout: true}, absent, hint.ResolverAway.Do},
		{net.DNSError{}, absent, hint.ResolverAway.Do},
	} {
		if got := unresolved(&c.err, c.file); !slices.Equal(got, c.want) {
			t.Errorf("%+v with %s: %q, want %q", c.err, c.file, got, c.want)
		}
	}
}
