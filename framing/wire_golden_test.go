package framing_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

var update = flag.Bool("update", false, "record the golden file of the newest minor version anew; only while that is not published")

// A phase is a part of a conversation: what both sides say until both are
// quiet.
type phase struct {
	name       string
	remoteSays []byte
	relaySays  []byte
}

// The conversation that is recorded, phase by phase. Each side has a script,
// and the bytes of the other side may come from the file.
const (
	phaseHello = iota
	phaseClaim
	phaseDenied
	phasePing
	phaseOpen
	phaseAnswer
	phaseOpenAgain
	phaseRefuse
	phaseLost
	phaseGoAway
	phases
)

var phaseNames = [phases]string{"hello and welcome", "a claim", "a claim that is denied", "PING and PONG",
	"a visitor, who ends its side", "the answer, and its end",
	"another visitor", "who is refused", "a name taken back", "going away, acknowledged"}

var goldenHello = framing.Hello{Minor: 0, Key: bytes.Repeat([]byte{0x11}, 32), Signature: bytes.Repeat([]byte{0x22}, 64),
	Run: framing.Run{Number: 7, ID: [16]byte{0x33}}, Agent: "keystay-remote/test"}

var goldenGoAway = framing.GoAway{Code: framing.GoAwayShutdown, Text: "the relay stops"}

// relayScript is what a relay does in each phase, and what it must see.
type relayScript struct {
	t      *testing.T
	conn   net.Conn
	link   *framing.Link
	stream *framing.Stream
	claims []string
	wg     sync.WaitGroup
}

func (r *relayScript) start(n int) {
	t := r.t
	r.wg.Go(func() {
		switch n {
		case phaseHello:
			l, h, err := framing.Server(t.Context(), r.conn)
			if err != nil {
				t.Error(err)
				return
			}
			r.link = l
			if fmt.Sprint(h) != fmt.Sprint(goldenHello) {
				t.Errorf("hello %+v", h)
			}
			l.Welcome(framing.Welcome{PublicPort: 443, Agent: "keystay-relay/test"}, framing.Handler{Claim: claimsBy(func(c framing.Claim) error {
				name, token := c.Name, c.Token
				r.claims = append(r.claims, name+" "+token)
				if name != "xyz.relay.test" {
					return &framing.Denial{Code: framing.DeniedTaken, Text: "it belongs to another device"}
				}
				return nil
			})})
		case phaseClaim, phaseDenied, phasePing: // the remote acts
		case phaseOpen:
			if got := strings.Join(r.claims, ", "); got != "xyz.relay.test token, abc.relay.test " {
				t.Errorf("claims %q", got)
			}
			s, err := r.link.Open(header, []byte("request"))
			if err != nil {
				t.Error(err)
				return
			}
			s.CloseWrite()
			r.stream = s
		case phaseAnswer:
			if b, err := io.ReadAll(r.stream); string(b) != "answer" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			r.stream.Close()
		case phaseOpenAgain:
			s, err := r.link.Open(header, nil)
			if err != nil {
				t.Error(err)
			}
			r.stream = s
		case phaseRefuse:
			var re *framing.ResetError
			if _, err := r.stream.Read(make([]byte, 1)); !errors.As(err, &re) || re.Code != framing.ResetRefused {
				t.Errorf("read: %v, want refused", err)
			}
			r.stream.Close()
		case phaseLost:
			r.link.Revoke(framing.Denial{Name: "xyz.relay.test", Code: framing.DeniedReplaced, Text: "a newer run"})
		case phaseGoAway:
			if err := r.link.GoAway(t.Context(), goldenGoAway); err != nil {
				t.Error(err)
			}
		}
	})
}

// remoteScript is the same for a remote.
type remoteScript struct {
	t      *testing.T
	conn   net.Conn
	link   *framing.Link
	stream *framing.Stream
	told   []string
	wg     sync.WaitGroup
}

func (r *remoteScript) start(n int) {
	t := r.t
	r.wg.Go(func() {
		switch n {
		case phaseHello:
			l, w, err := framing.Client(t.Context(), r.conn, goldenHello, framing.Handler{
				Lost:   func(d *framing.Denial) { r.told = append(r.told, d.Error()) },
				GoAway: func(g framing.GoAway) { r.told = append(r.told, g.Text) },
			})
			if err != nil || w.PublicPort != 443 || w.Agent != "keystay-relay/test" {
				t.Errorf("welcome %+v, %v", w, err)
			}
			r.link = l
		case phaseClaim:
			if _, err := r.link.Claim(t.Context(), framing.Claim{Name: "xyz.relay.test", Token: "token"}); err != nil {
				t.Error(err)
			}
		case phaseDenied:
			var d *framing.Denial
			if _, err := r.link.Claim(t.Context(), framing.Claim{Name: "abc.relay.test"}); !errors.As(err, &d) || d.Code != framing.DeniedTaken {
				t.Errorf("claim: %v", err)
			}
		case phasePing:
			time.Sleep(framing.PingInterval)
		case phaseOpen, phaseOpenAgain:
			s, err := r.link.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			if s.Header() != header {
				t.Errorf("header %+v", s.Header())
			}
			r.stream = s
		case phaseAnswer:
			if b, err := io.ReadAll(r.stream); string(b) != "request" || err != nil {
				t.Errorf("read %q, %v", b, err)
			}
			r.stream.Write([]byte("answer"))
			r.stream.Close()
		case phaseRefuse:
			r.stream.Refuse()
		}
	})
}

// A recorder keeps what is written to a connection.
type recorder struct {
	*memconn.Conn
	mu  sync.Mutex
	buf []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.buf = append(r.buf, p...)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func (r *recorder) take() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.buf
	r.buf = nil
	return b
}

func (r *relayScript) wait()  { r.wg.Wait() }
func (r *remoteScript) wait() { r.wg.Wait() }

func (r *relayScript) over() { settled(r.t, r.link) }
func (r *remoteScript) over() {
	if got := strings.Join(r.told, ", "); got != "xyz.relay.test: a newer run, the relay stops" {
		r.t.Errorf("told %q", got)
	}
	settled(r.t, r.link)
}

// A side is one end of a conversation that is recorded.
type side interface {
	start(phase int)
	wait()
	over() // checks what is left at the end
}

// A conversation is what a golden file holds.
type conversation struct {
	minor         int
	phases        []string
	relay, remote func(t *testing.T, c net.Conn) side
}

// The conversations: every later version must understand them, whichever end it is.
var conversations = []conversation{
	{0, phaseNames[:],
		func(t *testing.T, c net.Conn) side { return &relayScript{t: t, conn: c} },
		func(t *testing.T, c net.Conn) side { return &remoteScript{t: t, conn: c} }},
	{2, phaseNames2,
		func(t *testing.T, c net.Conn) side { return &relayScript2{script2{t: t, conn: c}, nil} },
		func(t *testing.T, c net.Conn) side { return &remoteScript2{script2{t: t, conn: c}} }},
	{3, phaseNames3,
		func(t *testing.T, c net.Conn) side { return &relayScript3{t: t, conn: c} },
		func(t *testing.T, c net.Conn) side { return &remoteScript3{t: t, conn: c} }},
	{4, phaseNames4,
		func(t *testing.T, c net.Conn) side { return &script4{t: t, conn: c, relay: true} },
		func(t *testing.T, c net.Conn) side { return &script4{t: t, conn: c} }},
}

func (c *conversation) file() string { return fmt.Sprintf("testdata/minor%d.golden", c.minor) }

// TestGolden speaks with the recorded bytes of older minor versions and of this one.
func TestGolden(t *testing.T) {
	for _, c := range conversations {
		t.Run(fmt.Sprint("minor", c.minor), func(t *testing.T) {
			if *update && c.minor == framing.Minor {
				t.Run("record", func(t *testing.T) { synctest.Test(t, c.record) })
			}
			recorded := c.read(t)
			t.Run("relay", func(t *testing.T) {
				replay(t, recorded, c.relay, func(p phase) []byte { return p.remoteSays })
			})
			t.Run("remote", func(t *testing.T) {
				replay(t, recorded, c.remote, func(p phase) []byte { return p.relaySays })
			})
		})
	}
}

// replay has one side hear what the other has said once.
func replay(t *testing.T, recorded []phase, begin func(*testing.T, net.Conn) side, says func(phase) []byte) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memconn.Pipe(0)
		s := begin(t, a)
		go io.Copy(io.Discard, b)
		for i, ph := range recorded {
			s.start(i)
			synctest.Wait()
			b.Write(says(ph))
			synctest.Wait()
			s.wait()
		}
		s.over()
	})
}

// record has both scripts speak with each other and writes down what they say.
func (c *conversation) record(t *testing.T) {
	ma, mb := memconn.Pipe(0)
	a, b := &recorder{Conn: ma}, &recorder{Conn: mb}
	relay, remote := c.relay(t, a), c.remote(t, b)
	var out bytes.Buffer
	fmt.Fprintf(&out, "# A whole conversation in minor version %d, recorded by TestGolden.\n# > is what the remote says, < what the relay says.\n", c.minor)
	for i, name := range c.phases {
		relay.start(i)
		remote.start(i)
		synctest.Wait()
		relay.wait()
		remote.wait()
		synctest.Wait()
		fmt.Fprintf(&out, "\n# %s\n", name)
		for _, said := range []struct {
			mark  string
			bytes []byte
		}{{">", b.take()}, {"<", a.take()}} {
			for p := said.bytes; len(p) > 0; {
				n := 3 + int(p[1])<<8 + int(p[2])
				fmt.Fprintf(&out, "%s %x\n", said.mark, p[:n])
				p = p[n:]
			}
		}
	}
	relay.over()
	remote.over()
	if err := os.WriteFile(c.file(), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *conversation) read(t *testing.T) []phase {
	t.Helper()
	b, err := os.ReadFile(c.file())
	if err != nil {
		t.Fatal(err)
	}
	var list []phase
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		mark, text, _ := strings.Cut(s.Text(), " ")
		var p []byte
		if mark == ">" || mark == "<" {
			if p, err = hex.DecodeString(text); err != nil || len(list) == 0 {
				t.Fatalf("%s: %q: %v", c.file(), s.Text(), err)
			}
		}
		switch {
		case mark == ">":
			list[len(list)-1].remoteSays = append(list[len(list)-1].remoteSays, p...)
		case mark == "<":
			list[len(list)-1].relaySays = append(list[len(list)-1].relaySays, p...)
		case mark == "":
			list = append(list, phase{})
		case mark == "#" && len(list) > 0:
			list[len(list)-1].name = text
		}
	}
	if len(list) != len(c.phases) {
		t.Fatalf("%s has %d phases, want %d", c.file(), len(list), len(c.phases))
	}
	return list
}
