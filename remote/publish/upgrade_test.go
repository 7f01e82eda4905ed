package publish_test

import (
	"io"
	"strings"
	"testing"
)

// upgradeOf is what the service gets of a visitor's request with lines of
// Upgrade, as "Upgrade: x" and "Connection: x".
func upgradeOf(raw string) string {
	var got []string
	for line := range strings.SplitSeq(raw, "\r\n") {
		if name, _, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "HTTP2-Settings") {
			got = append(got, line)
		}
	}
	return strings.Join(got, "\n")
}

// No token of Upgrade that leads to another HTTP inside the connection reaches
// the service, and none that is malformed, wherever it stands. The others do.
func TestUpgradeToHTTPInsideDoesNotPass(t *testing.T) {
	for lines, want := range map[string]string{
		"Upgrade: TLS/1.2":                           "",
		"Upgrade: tls/1.0, HTTP/1.1":                 "",
		"Upgrade: TLS":                               "",
		"Upgrade: SSL/3.0":                           "",
		"Upgrade: HTTP/2.0":                          "",
		"Upgrade: HTTP/1.1":                          "",
		"Upgrade: http":                              "",
		"Upgrade: h2c":                               "",
		"Upgrade: H2C":                               "",
		"Upgrade: h2c-14":                            "",
		"Upgrade: h3":                                "",
		"Upgrade: connect-udp":                       "",
		"Upgrade: Connect-IP":                        "",
		"Upgrade: ,h2c":                              "",
		"Upgrade: , ,":                               "",
		"Upgrade:\nUpgrade: h2c":                     "",
		"Upgrade: echo\nUpgrade: h2c":                "Upgrade: echo",
		"Upgrade: websocket, h2c":                    "Upgrade: websocket",
		"Upgrade: websocket,\tTLS/1.3 ,echo":         "Upgrade: websocket, echo",
		"Upgrade: websocket\nUpgrade: echo":          "Upgrade: websocket, echo",
		"Upgrade: \xff":                              "",
		"Upgrade: a b":                               "",
		"Upgrade: a/b/c":                             "",
		"Upgrade: a/":                                "",
		"Upgrade: /1":                                "",
		"Upgrade: \"websocket\"":                     "",
		"Upgrade: websocket;h2c":                     "",
		"Upgrade: h2c, \x80, websocket":              "Upgrade: websocket",
		"Upgrade: h2c\nHTTP2-Settings: AAMAAABk":     "",
		"Upgrade: SPDY/3.1":                          "Upgrade: SPDY/3.1",
		"Upgrade: WebSocket":                         "Upgrade: WebSocket",
		"Upgrade: echo,websocket":                    "Upgrade: echo,websocket",
		"Upgrade: websocket, h2c\nHTTP2-Settings: A": "Upgrade: websocket",
	} {
		for _, first := range []string{"GET /", "OPTIONS *"} {
			target, service := rawTarget(t, "http")
			c := serveTarget(t, target).visitor("http/1.1")
			io.WriteString(c, crlf(first+" HTTP/1.1\nHost: $H\nConnection: Upgrade\n"+lines+"\n\n"))
			service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 204 No Content\r\n\r\n"}
			raw := <-service.got
			if got := upgradeOf(raw); got != want {
				t.Errorf("%s, %q: the service gets %q, want %q", first, lines, got, want)
			}
			if connection := strings.Contains(raw, "\r\nConnection: Upgrade\r\n"); connection != (want != "") {
				t.Errorf("%s, %q: the service gets %q", first, lines, raw)
			}
			if got := hear(c, len("HTTP/1.1 204")); got != "HTTP/1.1 204" {
				t.Errorf("%s, %q: the visitor gets %q", first, lines, got)
			}
			c.Close()
		}
	}
}

// A service may switch to any of the protocols that were passed on to it. If it
// names another one, or none, its answer is broken: nothing of it passes, the
// reason phrase neither, and the connection to it is not waited for.
func TestSwitchOnlyToWhatWasPassedOn(t *testing.T) {
	const named = "Connection: Upgrade\r\nUpgrade: "
	for _, tt := range []struct{ asked, given, want string }{
		{"echo", named + "echo", "101"},
		{"websocket, echo", named + "echo", "101"},
		{"h2c, echo", named + "Echo", "101"},
		{"websocket, echo", named + "echo, websocket", "101"},
		{"TLS/1.2", named + "TLS/1.2", "502"},
		{"h2c", named + "h2c", "502"},
		{"echo, h2c", named + "h2c", "502"},
		{"echo, h2c", named + "echo, h2c", "502"},
		{"echo, h2c", named + "echo\r\nUpgrade: h2c", "502"},
		{"echo", named, "502"},
		{"echo", "Upgrade: echo", "502"},
		{"echo", "Connection: Upgrade", "502"},
	} {
		target, service := rawTarget(t, "http")
		c := serveTarget(t, target).visitor("http/1.1")
		io.WriteString(c, crlf("GET / HTTP/1.1\nHost: $H\nConnection: Upgrade\nUpgrade: "+tt.asked+"\n\n"))
		service.steps <- rawStep{until: "\r\n\r\n", answer: "HTTP/1.1 101 Switching Protocols\r\n" + tt.given + "\r\n\r\n"}
		<-service.got
		want := map[string]string{"101": "HTTP/1.1 101 Switching Protocols\r\n", "502": "HTTP/1.1 502 Bad Gateway\r\n"}[tt.want]
		if got := hear(c, len(want)); got != want {
			t.Errorf("asked for %q, given %q: the visitor gets %q, want %q", tt.asked, tt.given, got, want)
		}
		c.Close()
	}
}
