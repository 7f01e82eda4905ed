package framing_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/duplex"
	"keystay/internal/memconn"
	"keystay/internal/socket"
	"keystay/internal/testca"
)

// A laneRig is a link whose sides have agreed on lanes, and makes lanes to it.
type laneRig struct {
	relay, remote  *framing.Link
	server, client *tls.Config

	served chan error // what ServeLane returned
	lose   func()     // resets the last lane from the middle of its path
	last   *tls.Conn  // the last lane's TLS, at the remote
	far    *gate      // and what is below it, at the relay
	plain  bool       // TLS of lanes runs on the plain connection
}

// laneTLS makes the configurations of a lane's two ends. They may be shared by
// rigs: making certificates takes longer than most tests.
func laneTLS(t testing.TB) (server, client *tls.Config) {
	ca := testca.New(t)
	now := time.Now() // not the bubble's
	config := func() *tls.Config {
		return &tls.Config{NextProtos: []string{framing.LaneProtocol}, Time: func() time.Time { return now }}
	}
	server, client = config(), config()
	server.Certificates = []tls.Certificate{ca.Issue(relayName)}
	client.RootCAs, client.ServerName = ca.Pool(), relayName
	client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	return server, client
}

func newLaneRig(t testing.TB, server, client *tls.Config) *laneRig {
	return newBulkRig(t, server, client, framing.Handler{})
}

// newBulkRig is newLaneRig with a handler at the remote.
func newBulkRig(t testing.TB, server, client *tls.Config, atRemote framing.Handler) *laneRig {
	r := &laneRig{server: server, client: client, served: make(chan error, 64)}
	a, b := memconn.Pipe(0)
	r.relay, r.remote = linksWith(t, a, b, framing.Handler{LaneTokens: func(n int) (list []framing.LaneToken) {
		for range n {
			list = append(list, framing.NewLaneToken())
		}
		return list
	}}, atRemote, framing.CapabilityLanes)
	return r
}

// dial returns the two ends of a lane's TLS connection.
func (r *laneRig) dial(t testing.TB) (relay, remote *tls.Conn) {
	t.Helper()
	far, a := memconn.Pipe(0)
	near, b := memconn.Pipe(0)
	go duplex.Copy(a, b, duplex.Options{})
	r.lose = func() { socket.Abort(a) }
	t.Cleanup(func() { near.Reset(); far.Reset() })
	r.far = &gate{Conn: far}
	return r.shake(t, r.far, near)
}

// shake begins TLS on the two ends of a connection.
func (r *laneRig) shake(t testing.TB, far, near net.Conn) (relay, remote *tls.Conn) {
	t.Helper()
	below := func(c net.Conn) net.Conn {
		if r.plain {
			return c
		}
		return &framing.TLSRecordConn{Conn: c}
	}
	relay, remote = tls.Server(below(far), r.server), tls.Client(below(near), r.client)
	r.last = remote
	shaken := make(chan error, 1)
	go func() { shaken <- relay.Handshake() }()
	if err := errors.Join(remote.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	return relay, remote
}

// lane returns a lane that has joined.
func (r *laneRig) lane(t testing.TB) *framing.Lane {
	t.Helper()
	return r.join(t, r.dial)
}

// join returns a lane that has joined over what dial returns.
func (r *laneRig) join(t testing.TB, dial func(testing.TB) (relay, remote *tls.Conn)) *framing.Lane {
	t.Helper()
	relay, remote := dial(t)
	tokens, err := r.remote.WantLanes(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	joined := make(chan struct{})
	go func() {
		r.served <- framing.ServeLane(relay, func(got framing.LaneToken) *framing.Link {
			if !got.Equal(&tokens[0]) {
				return nil
			}
			return r.relay
		}, nil, func() { close(joined) })
	}()
	lane, err := r.remote.JoinLane(remote, tokens[0])
	if err != nil {
		t.Fatal(err)
	}
	<-joined
	return lane
}

// move moves a stream to a lane.
func (r *laneRig) move(t testing.TB, device *framing.Stream) *framing.Lane {
	t.Helper()
	lane := r.lane(t)
	if err := lane.Bind(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	if err := <-r.served; err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return lane
}

// TestMove moves a stream in the middle of what it carries, and loses the link.
func TestMove(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "hello")
		io.WriteString(d, "on the stream")
		r.move(t, d)
		for _, s := range []*framing.Stream{v, d} {
			if n, err := s.Write([]byte(", on the lane")); n != 13 || err != nil {
				t.Fatal(n, err)
			}
		}
		synctest.Wait()
		if r.remote.NumStreams() != 1 || r.relay.NumStreams() != 1 {
			t.Error("a stream on a lane does not count as open")
		}
		r.relay.Close()
		<-r.remote.Done()
		synctest.Wait()
		for _, s := range []*framing.Stream{v, d} {
			if err := s.Broken(); err != nil {
				t.Error("the lane was lost with its link:", err)
			}
			if _, err := s.Write([]byte(" without a link")); err != nil {
				t.Error(err)
			}
			if err := s.CloseWrite(); err != nil {
				t.Error(err)
			}
		}
		want(t, v, "on the stream, on the lane without a link")
		want(t, d, "hello, on the lane without a link")
		v.Close()
		d.Close()
		synctest.Wait()
		settled(t, r.relay, r.remote)
	})
}

// want reads up to the end.
func want(t testing.TB, r io.Reader, text string) {
	t.Helper()
	if b, err := io.ReadAll(r); err != nil || string(b) != text {
		t.Errorf("read %q and %v, want %q", b, err, text)
	}
}

// TestMoveWhileWaiting has a write wait for credit while the lane is bound: its
// direction stays until the write is done, the other one moves at once.
func TestMoveWhileWaiting(t *testing.T) {
	server, client := laneTLS(t)
	synctest.Test(t, func(t *testing.T) {
		r := newLaneRig(t, server, client)
		v, d := open(t, r.relay, r.remote, "")
		sent := bytes.Repeat([]byte("bulk"), 1<<20)
		wrote := make(chan error, 1)
		go func() { _, err := d.Write(sent); wrote <- err }()
		synctest.Wait()
		r.move(t, d)
		io.WriteString(v, "ahead")
		b := make([]byte, 5)
		if _, err := io.ReadFull(d, b); err != nil || string(b) != "ahead" {
			t.Fatal(string(b), err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(v, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatal("the bulk is not what was written:", err)
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.relay.Close() // the lane carries all now
		go d.Write([]byte("after"))
		if _, err := io.ReadFull(v, b); err != nil || string(b) != "after" {
			t.Error(string(b), err)
		}
		v.Reset()
		d.Reset()
	})
}

// TestMoveStates has an event for each state that a move may be in, as in the
// table of PROTOCOL.md.
func TestMoveStates(t *testing.T) {
	server, client := laneTLS(t)
	states := map[string]func(t *testing.T, r *laneRig, v, d *framing.Stream){
		"both moved": func(t *testing.T, r *laneRig, v, d *framing.Stream) { r.move(t, d) },
		"device ended, the other moved": func(t *testing.T, r *laneRig, v, d *framing.Stream) {
			d.CloseWrite()
			r.move(t, d)
		},
		"visitor ended, the other moved": func(t *testing.T, r *laneRig, v, d *framing.Stream) {
			v.CloseWrite()
			r.move(t, d)
		},
		"device waits, the other moved": func(t *testing.T, r *laneRig, v, d *framing.Stream) {
			go d.Write(make([]byte, 4<<20))
			synctest.Wait()
			r.move(t, d)
		},
		"visitor waits, the other moved": func(t *testing.T, r *laneRig, v, d *framing.Stream) {
			go v.Write(make([]byte, 4<<20))
			synctest.Wait()
			r.move(t, d)
		},
		"both wait": func(t *testing.T, r *laneRig, v, d *framing.Stream) {
			go v.Write(make([]byte, 4<<20))
			go d.Write(make([]byte, 4<<20))
			synctest.Wait()
			r.move(t, d)
		},
		"not bound": func(t *testing.T, r *laneRig, v, d *framing.Stream) { r.lane(t) },
	}
	moved := map[string]bool{"both moved": true, "device ended, the other moved": true, "visitor ended, the other moved": true}
	type outcome struct{ device, visitor error } // what reads say in the end
	reset := syscall.ECONNRESET
	events := map[string]struct {
		do   func(r *laneRig, v, d *framing.Stream)
		want func(state string) outcome
	}{
		"end": {
			func(r *laneRig, v, d *framing.Stream) { v.CloseWrite(); d.CloseWrite() },
			func(string) outcome { return outcome{io.EOF, io.EOF} },
		},
		"reset by the visitor": {
			func(r *laneRig, v, d *framing.Stream) { v.Reset() },
			func(string) outcome { return outcome{reset, net.ErrClosed} },
		},
		"reset by the device": {
			func(r *laneRig, v, d *framing.Stream) { d.Reset() },
			func(string) outcome { return outcome{net.ErrClosed, reset} },
		},
		"link lost": {
			func(r *laneRig, v, d *framing.Stream) { r.relay.Close() },
			func(state string) outcome {
				if moved[state] {
					return outcome{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded}
				}
				return outcome{io.ErrUnexpectedEOF, net.ErrClosed}
			},
		},
		"lane lost": {
			func(r *laneRig, v, d *framing.Stream) { r.lose() },
			func(state string) outcome {
				switch state {
				case "not bound":
					return outcome{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded}
				}
				return outcome{reset, reset}
			},
		},
		"drain": {
			func(r *laneRig, v, d *framing.Stream) {
				r.relay.GoAway(context.Background(), framing.GoAway{})
				r.remote.GoAway(context.Background(), framing.GoAway{})
			},
			func(string) outcome { return outcome{os.ErrDeadlineExceeded, os.ErrDeadlineExceeded} },
		},
	}
	for state, enter := range states {
		for event, e := range events {
			t.Run(state+"/"+event, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newLaneRig(t, server, client)
					v, d := open(t, r.relay, r.remote, "")
					enter(t, r, v, d)
					e.do(r, v, d)
					synctest.Wait()
					want := e.want(state)
					check := func(s *framing.Stream, name string, ended bool, want error) {
						s.SetReadDeadline(time.Now().Add(time.Second))
						_, err := io.Copy(io.Discard, struct{ io.Reader }{s})
						if err == nil {
							err = io.EOF
						}
						if ended && want != net.ErrClosed { // its peer's half has ended before
							time.Sleep(2 * duplex.DefaultProbe) // for the middle to see it
							if (s.Broken() != nil) != (want == reset) {
								t.Errorf("the %s's Broken is %v", name, s.Broken())
							}
							want = io.EOF
						}
						if want == io.ErrUnexpectedEOF && errors.Is(err, reset) {
							err = want // the link may be lost either way
						}
						if !errors.Is(err, want) {
							t.Errorf("the %s reads %v, want %v", name, err, want)
						}
					}
					if event == "end" { // a write that waits needs a reader
						go io.Copy(io.Discard, struct{ io.Reader }{d})
					}
					check(v, "visitor", state == "device ended, the other moved", want.visitor)
					if event != "end" {
						check(d, "device", state == "visitor ended, the other moved", want.device)
					}
					v.Reset()
					d.Reset()
					synctest.Wait()
				})
			})
		}
	}
}
