package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"keystay/e2e/internal/world"
)

// A canary is what is looked for. It is made at run time, so that no program has it.
func newCanary() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// memoryHas reports which of words a process has anywhere in its memory.
func memoryHas(t *testing.T, pid int, words ...string) map[string]bool {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if os.IsPermission(err) {
		t.Skip("this system does not let a process look into its children")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found, read := make(map[string]bool), 0
	const piece, overlap = 1 << 20, 64
	buf := make([]byte, piece+overlap)
	for s := bufio.NewScanner(maps); s.Scan(); {
		var from, to int64
		var perm string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &from, &to, &perm); err != nil || perm[0] != 'r' || to-from > 1<<30 {
			continue // the race detector's own is in terabytes
		}
		for at := from; at < to; at += piece {
			n, _ := mem.ReadAt(buf[:min(piece+overlap, to-at)], at) // a part may have gone meanwhile
			read += n
			for _, w := range words {
				if bytes.Contains(buf[:n], []byte(w)) {
					found[w] = true
				}
			}
		}
	}
	if read < 4<<20 {
		t.Fatalf("only %d bytes of the memory of process %d can be read", read, pid)
	}
	return found
}

// TestRelayKeepsNothingOfVisitors sends secrets through a relay, as a program, also while
// another process takes over from it. What visitors say within their TLS is in no log,
// metric, page, answer to the operator or file of the relay, and in the memory of neither
// process; the device's has it, so the look finds what is there. What the relay sees in
// the clear, the server names of visitors that it refuses, requests that are not TLS, and
// visitors' addresses, it may have in memory, and nowhere else. KEYSTAY_SOAK makes it
// 10,000 requests.
func TestRelayKeepsNothingOfVisitors(t *testing.T) {
	t.Parallel()
	count := 300
	if soaking() {
		count = 10_000
	}
	inside, seen, from := newCanary(), newCanary(), "127.77.66.55"
	l := emptyLineage(t)
	l.write("relay.yaml", l.yaml("127.0.0.1:0"))
	l.startRelay()
	held, letGo := make(chan struct{}), make(chan struct{})
	l.startRemoteTo(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Canary", inside)
		if r.URL.Path == "/held" {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			close(held)
			<-letGo
		}
		w.Write(b)
	})
	web, admin := l.logged(`msg=listening for=http addr=(\S+)`), l.logged(`msg=listening for=admin addr=(\S+)`)
	local := &net.TCPAddr{IP: net.ParseIP(from)}
	transport := func(keep bool, server *tls.Config) *http.Transport {
		return &http.Transport{TLSClientConfig: server, DisableKeepAlives: !keep, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: local}).DialContext(ctx, network, l.public)
		}}
	}
	request := func(tr *http.Transport, path string) (*http.Response, error) {
		req, err := http.NewRequest("POST", "https://"+takeoverName+path+"?q="+inside, strings.NewReader(inside))
		if err != nil {
			return nil, err
		}
		for _, h := range []string{"Cookie", "Authorization", "X-Own", "Referer"} {
			req.Header.Set(h, inside)
		}
		return tr.RoundTrip(req)
	}
	var wg sync.WaitGroup
	send := func(n int) {
		for w := range 4 {
			wg.Go(func() {
				tr := transport(w%2 == 0, l.client)
				defer tr.CloseIdleConnections()
				for i := range n / 4 {
					res, err := request(tr, fmt.Sprintf("/%s/%d", inside, i))
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || string(b) != inside {
						t.Errorf("%q, %v", b, err)
						return
					}
				}
			})
		}
	}
	clear := func() {
		for _, say := range []string{
			"GET /" + seen + " HTTP/1.1\r\nHost: " + seen + "\r\nCookie: " + seen + "\r\n\r\n", seen,
			string(recordedHello(t, nil, seen+"."+takeoverRelay)), string(recordedHello(t, nil, seen+".test")),
			string(recordedHello(t, nil, seen+"."+takeoverRelay)[:100]),
		} {
			for _, addr := range []string{l.public, web} {
				c, err := (&net.Dialer{LocalAddr: local, Timeout: world.Patience}).Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				c.SetDeadline(time.Now().Add(world.Patience))
				io.WriteString(c, say)
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
			}
		}
	}
	send(count / 2)
	clear()
	wg.Wait()
	tr := transport(true, l.client)
	defer tr.CloseIdleConnections()
	res, err := request(tr, "/held")
	if err != nil {
		t.Fatal(err)
	}
	<-held
	send(count / 2)
	old := l.main
	l.takeOver()
	clear()
	wg.Wait()

	for what, pid := range map[string]int{"old": old, "new": l.main} {
		got := memoryHas(t, pid, inside, takeoverRelay)
		if got[inside] {
			t.Errorf("the memory of the %s process has what a visitor has said", what)
		}
		if !got[takeoverRelay] {
			t.Errorf("the relay's own name is not found in the memory of the %s process", what)
		}
	}
	if got := memoryHas(t, l.remote.Process.Pid, inside); !got[inside] {
		t.Error("the device has what a visitor has said, and it is not found in its memory")
	}
	places := map[string]string{
		"metrics": l.got(t, nil, "http://"+admin+"/metrics"), "readyz": l.got(t, nil, "http://"+admin+"/readyz"),
		"page":       l.got(t, transport(false, &tls.Config{ServerName: takeoverRelay, RootCAs: l.client.RootCAs}), "https://"+takeoverRelay+"/"),
		"well-known": l.got(t, transport(false, &tls.Config{ServerName: takeoverRelay, RootCAs: l.client.RootCAs}), "https://"+takeoverRelay+"/.well-known/keystay.json"),
	}
	for _, lever := range []string{"status", "names list", "remotes list", "identities list", "audit", "config show"} {
		cmd := exec.Command(filepath.Join(l.bin, "relay"), append(strings.Fields(lever), "--json", "--state-dir", l.path("state"))...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("relay %s: %v\n%s", lever, err, out)
		}
		places["relay "+lever] = string(out)
	}
	close(letGo)
	res.Body.Close()
	tr.CloseIdleConnections()
	l.end()
	err = filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, l.bin) || strings.HasPrefix(path, l.path("device")) {
			return err
		}
		b, err := os.ReadFile(path)
		places[strings.TrimPrefix(path, l.dir)] = string(b)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for place, text := range places {
		for what, canary := range map[string]string{"what a visitor said in TLS": inside, "what it said in the clear": seen, "its address": from} {
			if strings.Contains(text, canary) {
				at := strings.Index(text, canary)
				t.Errorf("%s has %s: …%s", place, what, text[max(0, at-100):min(len(text), at+100)])
			}
		}
	}
	if strings.Contains(places["metrics"], takeoverName) || len(places["/log"]) == 0 || len(places["/state/names.db"]) == 0 {
		t.Error("the metrics have a name, or a file was not looked at")
	}
	t.Logf("%d requests; %d places", count, len(places))
}

// got returns the body of an answer.
func (l *lineage) got(t *testing.T, tr *http.Transport, url string) string {
	t.Helper()
	if tr == nil {
		tr = &http.Transport{DisableKeepAlives: true}
	}
	res, err := (&http.Client{Transport: tr}).Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || len(b) == 0 {
		t.Errorf("%s: %q, %v", url, b, err)
	}
	return string(b)
}
