package config_test

import (
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"keystay/config"
)

func TestLocalHasManyForms(t *testing.T) {
	tests := []struct {
		in, shown, network string
		addresses          []string
		url                string
	}{
		{"3000", "http://127.0.0.1:3000", "tcp", []string{"127.0.0.1:3000", "[::1]:3000"}, "http://127.0.0.1:3000"},
		{":3000", "http://127.0.0.1:3000", "tcp", []string{"127.0.0.1:3000", "[::1]:3000"}, "http://127.0.0.1:3000"},
		{"http://:3000", "http://127.0.0.1:3000", "tcp", []string{"127.0.0.1:3000", "[::1]:3000"}, "http://127.0.0.1:3000"},
		{"localhost:3000", "http://localhost:3000", "tcp", []string{"localhost:3000"}, "http://localhost:3000"},
		{"nas:80", "http://nas", "tcp", []string{"nas:80"}, "http://nas"},
		{"my_box:65535", "http://my_box:65535", "tcp", []string{"my_box:65535"}, "http://my_box:65535"},
		{"192.0.2.1:1", "http://192.0.2.1:1", "tcp", []string{"192.0.2.1:1"}, "http://192.0.2.1:1"},
		{"[::1]:3000", "http://[::1]:3000", "tcp", []string{"[::1]:3000"}, "http://[::1]:3000"},
		{"http://nas.local/", "http://nas.local", "tcp", []string{"nas.local:80"}, "http://nas.local"},
		{"http://127.0.0.1:8080", "http://127.0.0.1:8080", "tcp", []string{"127.0.0.1:8080"}, "http://127.0.0.1:8080"},
		{"HTTPS://nas.local", "https://nas.local", "tcp", []string{"nas.local:443"}, "https://nas.local"},
		{"https://[2001:db8::1]", "https://[2001:db8::1]", "tcp", []string{"[2001:db8::1]:443"}, "https://[2001:db8::1]"},
		{"https+insecure://nas:8443", "https+insecure://nas:8443", "tcp", []string{"nas:8443"}, "https://nas:8443"},
		{"h2c://:50051", "h2c://127.0.0.1:50051", "tcp", []string{"127.0.0.1:50051", "[::1]:50051"}, "http://127.0.0.1:50051"},
		{"H2C://grpc.local", "h2c://grpc.local", "tcp", []string{"grpc.local:80"}, "http://grpc.local"},
		{"unix:/run/app.sock", "unix:/run/app.sock", "unix", []string{"/run/app.sock"}, "http://localhost"},
		{"unix:///run/app.sock", "unix:/run/app.sock", "unix", []string{"/run/app.sock"}, "http://localhost"},
	}
	for _, tt := range tests {
		l, err := config.ParseLocal(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if l.String() != tt.shown || l.Network != tt.network || !slices.Equal(l.Addresses(), tt.addresses) || l.URL.String() != tt.url ||
			l.Insecure != strings.Contains(tt.in, "insecure") ||
			l.H2C != strings.HasPrefix(strings.ToLower(tt.in), "h2c:") || l.Address != tt.addresses[0] {
			t.Errorf("%s: %+v, shown %s, at %v", tt.in, l, l, l.Addresses())
		}
	}
	if s := (config.Local{}).String(); s != "" {
		t.Errorf("the zero Local is shown as %q", s)
	}
}

func TestWrongLocalSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "empty"},
		{"http://", "empty"},
		{"nas", `"nas" has no port`},
		{"::1", `"::1" has no port`},
		{"0", `"0" is no port`},
		{"65536", `"65536" is no port`},
		{"host:http", `"http" is no port`},
		{"a b:80", `"a b" is no host`},
		{"http://user@host:80", `"user@host" is no host`},
		{"http://host:80?x", `"80?x" is no port`},
		{"http://host:80/app", `"host:80/app" has a path, and only whole services can be published`},
		{"ws://host:80", `"ws://host:80" is no local service`},
		{"unix:app.sock", `"unix:app.sock" names no whole path of a unix socket`},
		{"unix:", `"unix:" names no whole path of a unix socket`},
		{"tcp://host", `"host" has no port`},
		{"tls://host:0", `"0" is no port`},
		{"tcp://host:22/x", `"host:22/x" has a path, and only whole services can be published`},
		{"redirect:", `"" is no http:// or https:// URL to go to`},
		{"redirect:/x", `"/x" is no http:// or https:// URL to go to`},
		{"redirect:javascript:x", `"javascript:x" is no http:// or https:// URL to go to`},
		{"redirect:https://a b/", `"https://a b/" is no http:// or https:// URL to go to`},
		{"./a\x00b", `"./a\x00b" is no path`},
	}
	for _, tt := range tests {
		_, err := config.ParseLocal(tt.in)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.in, err, tt.want)
		}
	}
}

// Targets that are no HTTP service: raw connections, folders, redirects, texts.
func TestLocalNeedNotSpeakHTTP(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("HOME", filepath.Join(dir, "home"))
	for in, want := range map[string]config.Local{
		".":                           {Kind: config.LocalFolder, Folder: dir},
		"./site/":                     {Kind: config.LocalFolder, Folder: filepath.Join(dir, "site")},
		"../site":                     {Kind: config.LocalFolder, Folder: filepath.Join(filepath.Dir(dir), "site")},
		"/srv/./site":                 {Kind: config.LocalFolder, Folder: "/srv/site"},
		"~/site":                      {Kind: config.LocalFolder, Folder: filepath.Join(dir, "home", "site")},
		"text:Hello, you: 3000":       {Kind: config.LocalText, Text: "Hello, you: 3000"},
		"text:":                       {Kind: config.LocalText},
		"redirect:https://a.test/b?c": {Kind: config.LocalRedirect, URL: &url.URL{Scheme: "https", Host: "a.test", Path: "/b", RawQuery: "c"}},
		"tcp://db:5432":               {Kind: config.LocalTCP, Network: "tcp", Address: "db:5432"},
		"TLS://[::1]:8443":            {Kind: config.LocalTLS, Network: "tcp", Address: "[::1]:8443"},
	} {
		l, err := config.ParseLocal(in)
		if err != nil || !reflect.DeepEqual(l, want) {
			t.Errorf("%s: %+v, %v; want %+v", in, l, err, want)
		}
		if again, err := config.ParseLocal(l.String()); err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%s is shown as %s, which is %+v, %v", in, l, again, err)
		}
	}
	if l, err := config.ParseLocal("tcp://:22"); err != nil || !slices.Equal(l.Addresses(), []string{"127.0.0.1:22", "[::1]:22"}) {
		t.Errorf("a bare port: %v, %v", l.Addresses(), err)
	}
}

func FuzzParseLocal(f *testing.F) {
	for _, s := range []string{"3000", ":3000", "[::1]:80", "https+insecure://a.b:1/", "unix:///x", "http://[::1", "tcp://x", "./x", "h2c://a:1", "tls://:1", "redirect:http://a/?b#c", "text:x", "~x", "/a/../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := config.ParseLocal(s)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r\x00") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		again, err := config.ParseLocal(l.String())
		if err != nil || again.String() != l.String() || again.Address != l.Address || again.Insecure != l.Insecure || again.H2C != l.H2C {
			t.Errorf("%q is shown as %q, which is %+v, %v", s, l, again, err)
		}
	})
}
