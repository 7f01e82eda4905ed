package shape_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tls "github.com/refraction-networking/utls"
	"go.uber.org/goleak"

	"keystay/e2e/internal/browser"
	"keystay/e2e/internal/shape"
	"keystay/internal/memconn"
	watched "keystay/remote/watch/browser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const host = "xyz.relay.test"

// browsers are those that a probe passes for, and the recorded hello of each.
var browsers = map[watched.Shape]browser.Kind{watched.Chromium: browser.Chromium, watched.Firefox: browser.Firefox}

// recorded returns the shape of the hello that was recorded of a browser.
func recorded(t *testing.T, kind browser.Kind) shape.Shape {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", string(kind)+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, b)
}

func parse(t *testing.T, wire []byte) shape.Shape {
	t.Helper()
	s, err := shape.Of(wire)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// probe returns the shape of a probe's hello.
func probe(t *testing.T, as watched.Shape) shape.Shape {
	t.Helper()
	return parse(t, probeHello(t, as))
}

func probeHello(t *testing.T, as watched.Shape) []byte {
	t.Helper()
	near, far := memconn.Pipe(0)
	defer far.Close()
	c, err := watched.Client(near, host, as)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Handshake(t.Context()) // fails when far is closed
	}()
	wire, err := firstFlight(far)
	far.Close()
	<-done
	near.Close()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// firstFlight reads the record that a client begins with.
func firstFlight(c net.Conn) ([]byte, error) {
	c.SetReadDeadline(time.Now().Add(time.Minute))
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, err
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	_, err := io.ReadFull(c, body)
	return append(head, body...), err
}

// A probe's hello is one of the browser that it passes for, whatever is looked at: what
// is offered and in which order, and how long each part is.
func TestProbesHelloIsTheBrowsers(t *testing.T) {
	for as, kind := range browsers {
		want := recorded(t, kind)
		var orders []string
		for range 20 {
			got := probe(t, as)
			differ(t, fmt.Sprintf("a probe as %s, and the browser", as), got, want)
			orders = append(orders, fmt.Sprint(got.Order))
			if got.JA4() != want.JA4() {
				t.Errorf("as %s: JA4 %s, the browser's %s", as, got.JA4(), want.JA4())
			}
			if !got.LooksLikeBrowser() {
				t.Errorf("as %s it does not look like a browser", as)
			}
		}
		slices.Sort(orders)
		shuffles := len(slices.Compact(orders)) > 1
		if shuffles != (as == watched.Chromium) {
			t.Errorf("as %s: the order of extensions changes from one hello to the next: %v", as, shuffles)
		}
		if first, last := want.Order[0], want.Order[len(want.Order)-1]; as == watched.Chromium {
			got := probe(t, as).Order
			if !shape.IsGREASE(first) || !shape.IsGREASE(last) || !shape.IsGREASE(got[0]) || !shape.IsGREASE(got[len(got)-1]) {
				t.Errorf("Chromium begins and ends its extensions with GREASE; here are %x and %x", want.Order, got)
			}
		}
		if as == watched.Firefox && !slices.Equal(probe(t, as).Order, want.Order) {
			t.Errorf("Firefox's order of extensions is %x, not %x", want.Order, probe(t, as).Order)
		}
	}
	if s := probe(t, watched.Chromium).Lines; slices.ContainsFunc(s, func(l string) bool { return strings.Contains(l, "one key") }) {
		t.Error("Chromium has a key for each share")
	}
	if probe(t, watched.Program).LooksLikeBrowser() {
		t.Error("a probe as a program looks like a browser")
	}
}

// The fingerprint is that of others' tables: a Chrome of 2025, as utls has it.
func TestJA4IsTheOneOfTables(t *testing.T) {
	near, far := memconn.Pipe(0)
	c := tls.UClient(near, &tls.Config{ServerName: host}, tls.HelloChrome_133)
	go c.Handshake()
	defer near.Close()
	defer far.Close()
	wire, err := firstFlight(far)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, wire).JA4(); got != "t13d1516h2_8daaf6152771_d8a2da3f94cd" {
		t.Error(got)
	}
}

// The recorded hellos are those of the browsers that are installed. Where this fails, a
// browser has changed: record it anew, with KEYSTAY_RECORD=1, and then make the probe's
// hello like it.
func TestRecordedHellosAreTheInstalledBrowsers(t *testing.T) {
	for _, kind := range browsers {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			wire := record(t, kind)
			file := filepath.Join("testdata", string(kind)+".bin")
			if os.Getenv("KEYSTAY_RECORD") != "" {
				if err := os.WriteFile(file, wire, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			differ(t, "the installed "+string(kind)+", and the recorded one", parse(t, wire), recorded(t, kind))
		})
	}
}

// record returns the first hello of an installed browser.
func record(t *testing.T, kind browser.Kind) []byte {
	t.Helper()
	b, err := browser.Find(kind)
	if err != nil {
		if os.Getenv("KEYSTAY_SKIP_BROWSERS") != "" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	b.Hosts = []string{host}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() {
		opened <- b.Open(ctx, fmt.Sprintf("https://%s:%d/", host, ln.Addr().(*net.TCPAddr).Port))
		ln.Close() // nothing more will come
	}()
	defer func() {
		cancel()
		if err := <-opened; err != nil {
			t.Error(err)
		}
	}()
	for {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wire, err := firstFlight(c)
		if err == nil {
			return wire
		}
		if !errors.Is(err, io.EOF) { // it may give a connection up before it says anything
			t.Fatal(err)
		}
	}
}

// differ fails the test where two shapes are not the same, and says in what.
func differ(t *testing.T, what string, a, b shape.Shape) {
	t.Helper()
	var lines []string
	for _, l := range a.Lines {
		if !slices.Contains(b.Lines, l) {
			lines = append(lines, "the first:  "+l)
		}
	}
	for _, l := range b.Lines {
		if !slices.Contains(a.Lines, l) {
			lines = append(lines, "the second: "+l)
		}
	}
	if len(lines) > 0 || len(a.Lines) != len(b.Lines) {
		t.Errorf("%s, differ:\n%s", what, strings.Join(lines, "\n"))
	}
}
