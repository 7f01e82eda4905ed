//go:build linux

package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"html"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"keystay/e2e/internal/world"
)

var shownCommand = regexp.MustCompile(`<pre[^>]*><code>(.*)</code></pre>`)

// The command on the relay's page publishes a device, whatever the policy, on a
// port that is not 443.
func TestCommandOfTheRelaysPage(t *testing.T) {
	t.Parallel()
	l := emptyLineage(t)
	l.write("secret", "one that an operator gave out\n")
	for policy, more := range map[string]string{
		"open":   "",
		"token":  "tokens: [{secret_file: secret, names: [\"*.relay.test\"]}]\n",
		"closed": "",
	} {
		t.Run(policy, func(t *testing.T) {
			l.log = l.path(policy + ".log")
			l.write("relay.yaml", l.yaml("127.0.0.1:0")+"names: {policy: "+policy+"}\n"+more)
			l.startRelay()
			site, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go http.Serve(site, http.HandlerFunc(serveTakeoverSite))
			t.Cleanup(func() { site.Close() })

			tr := &http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, l.public)
				},
				TLSClientConfig:   &tls.Config{ServerName: takeoverRelay, RootCAs: l.client.RootCAs},
				DisableKeepAlives: true,
			}
			resp, err := (&http.Client{Transport: tr}).Get("https://" + takeoverRelay + "/")
			if err != nil {
				t.Fatal(err)
			}
			page, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			m := shownCommand.FindSubmatch(page)
			if err != nil || m == nil {
				t.Fatalf("no command on the page: %v\n%s", err, page)
			}
			command := strings.NewReplacer("NAME", "xyz", "FILE", l.path("secret"), ":3000", site.Addr().String()).Replace(html.UnescapeString(string(m[1])))
			words := strings.Fields(command)
			cmd := exec.Command(filepath.Join(l.bin, words[0]), append(words[1:], "--relay-address", l.public, "--relay-root", l.path("ca.pem"),
				"--state-dir", l.path("device"), "--cert", l.path("devicecert/cert.pem"), "--key", l.path("devicecert/key.pem"))...)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var said world.Transcript
			cmd.Stderr = &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "https://") || policy != "closed" && !strings.HasPrefix(line, "https://xyz.relay.test:") {
				t.Errorf("%s: %q, %v\n%s", command, line, err, said.String())
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("the remote: %v\n%s", err, said.String())
			}
			l.end()
		})
	}
}
