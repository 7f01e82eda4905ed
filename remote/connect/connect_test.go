package connect_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hint"
	"keystay/internal/memconn"
	"keystay/internal/testca"
	"keystay/remote/connect"
)

// Each side's end is told to the other one, which goes on until it ends too.
func TestAnEndIsPassedOnAndTheOtherSideGoesOn(t *testing.T) {
	t.Run("the near one first", func(t *testing.T) {
		r := newRig(t, new(tls.Config), func(c net.Conn) {
			defer c.Close()
			all, err := io.ReadAll(c)
			fmt.Fprintf(c, "%s, %v", all, err)
		})
		near, copied := r.local()
		io.WriteString(near, "question")
		near.CloseWrite()
		if all, err := io.ReadAll(near); string(all) != "question, <nil>" || err != nil {
			t.Errorf("%q, %v", all, err)
		}
		if err := <-copied; err != nil {
			t.Error(err)
		}
	})
	t.Run("the far one first", func(t *testing.T) {
		heard := make(chan string, 1)
		r := newRig(t, new(tls.Config), func(c net.Conn) {
			defer c.Close()
			io.WriteString(c, "greeting")
			end(c)
			all, err := io.ReadAll(c)
			heard <- fmt.Sprintf("%s, %v", all, err)
		})
		near, copied := r.local()
		if all, err := io.ReadAll(near); string(all) != "greeting" || err != nil {
			t.Errorf("%q, %v", all, err)
		}
		io.WriteString(near, "farewell")
		near.CloseWrite()
		if got := <-heard; got != "farewell, <nil>" {
			t.Error(got)
		}
		if err := <-copied; err != nil {
			t.Error(err)
		}
	})
}

// A connection that ends without the end of TLS, or by a reset, is no end for the local
// side.
func TestWhatBreaksOffIsNoEnd(t *testing.T) {
	for what, cut := range map[string]func(*memconn.Conn){
		"the end of TCP": func(c *memconn.Conn) { c.CloseWrite() },
		"a reset":        func(c *memconn.Conn) { c.Reset() },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, new(tls.Config), func(c net.Conn) {
				io.WriteString(c, "half of an ans")
				cut(c.(*tls.Conn).NetConn().(*memconn.Conn))
			})
			near, copied := r.local()
			if !isReset(near) {
				t.Error("the local side has ended in good order")
			}
			err := <-copied
			var e *connect.Error
			if !errors.As(err, &e) || !e.Broken || !strings.HasPrefix(err.Error(), "connection to "+name+":443: ") || len(hint.All(err)) != 1 {
				t.Errorf("%v, %q", err, hint.All(err))
			}
		})
	}
}

// A local side that breaks off resets the other one.
func TestALocalResetIsPassedOn(t *testing.T) {
	broken := make(chan error, 1)
	r := newRig(t, new(tls.Config), func(c net.Conn) {
		_, err := io.ReadAll(c)
		broken <- err
	})
	near, copied := r.local()
	io.WriteString(near, "half of a ques")
	near.Reset()
	if err := <-broken; err == nil {
		t.Error("the name has heard an end")
	}
	if err := <-copied; err == nil {
		t.Error("no error")
	}
}

// alert answers a ClientHello with an alert, as a relay and a device do.
func alert(code byte) func(net.Conn) {
	return func(c net.Conn) {
		io.ReadFull(c, make([]byte, 100))
		c.Write([]byte{21, 3, 3, 0, 2, 2, code})
	}
}

// Why a name is not reached is told with what to do.
func TestWhoeverIsNotLetInIsToldWhy(t *testing.T) {
	with := func(c *tls.Config) *tls.Config { return c }
	for what, c := range map[string]struct {
		config *tls.Config
		serve  func(net.Conn)
		change func(*rig)
		advice *hint.Advice
	}{
		"no such name":   {serve: alert(112), advice: hint.ConnectUnknown},
		"device is away": {serve: alert(80), advice: hint.ConnectAway},
		"rules":          {serve: alert(49), advice: hint.ConnectDenied},
		"protocol":       {config: with(&tls.Config{NextProtos: []string{"ssh"}}), change: func(r *rig) { r.dialer.Protocols = []string{"mqtt"} }, advice: hint.ConnectProtocol},
		"no TLS":         {serve: func(c net.Conn) { io.ReadFull(c, make([]byte, 100)); io.WriteString(c, "SSH-2.0-x\r\n") }, advice: hint.ConnectNotTLS},
		"no CA of ours":  {config: with(new(tls.Config)), change: func(r *rig) { r.dialer.Roots = x509.NewCertPool() }, advice: hint.ConnectUntrusted},
		"another name":   {config: with(new(tls.Config)), change: func(r *rig) { r.dialer.Name = "other.relay.test" }, advice: hint.ConnectOtherName},
		"nothing there":  {change: func(r *rig) { r.ln.Close() }, advice: hint.ConnectRefused},
		"no address": {change: func(r *rig) {
			r.dialer.Dial = func(context.Context, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}}
			}
		}, advice: hint.ConnectNoAddress},
		"no DNS": {change: func(r *rig) {
			r.dialer.Dial = func(context.Context, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true}}
			}
		}, advice: hint.ResolverAway},
		"no way": {change: func(r *rig) {
			r.dialer.Dial = func(context.Context, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
			}
		}, advice: hint.ConnectNoWay},
	} {
		t.Run(what, func(t *testing.T) {
			if c.serve == nil {
				c.serve = func(c net.Conn) { c.(*tls.Conn).Handshake(); c.Close() }
			}
			r := newRig(t, c.config, c.serve)
			dial := r.dialer.Dial
			r.dialer.Dial = func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx, name+":443") }
			if c.change != nil {
				c.change(r)
			}
			_, err := r.dialer.Connect(t.Context())
			if hints := hint.All(err); err == nil || strings.Join(hints, "\n") != strings.Join(c.advice.Do, "\n") || !strings.HasPrefix(err.Error(), "connect to ") {
				t.Errorf("%v, %q", err, hints)
			}
		})
	}
}

// A certificate out of its time is told with the times.
func TestACertificateOutOfItsTimeIsToldWithTheTimes(t *testing.T) {
	r := newRig(t, new(tls.Config), nil)
	ca := testca.New(t)
	past := time.Now().Add(-time.Hour)
	config := &tls.Config{Certificates: []tls.Certificate{ca.IssueValid(past.Add(-time.Hour), past, name)}}
	r.dialer.Roots = ca.Pool()
	r.dialer.Dial = func(context.Context, string) (net.Conn, error) {
		near, far := memconn.Pipe(0)
		go func() { tls.Server(far, config).Handshake(); far.Close() }()
		return near, nil
	}
	_, err := r.dialer.Connect(t.Context())
	if hints := hint.All(err); len(hints) != 1 || !strings.Contains(hints[0], " to "+past.Format("2006-01-02")) {
		t.Errorf("%v, %q", err, hints)
	}
}

// Neither a dial nor a handshake takes longer than it may.
func TestWhatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Run("handshake", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &connect.Dialer{Name: name, Dial: func(context.Context, string) (net.Conn, error) {
				near, _ := memconn.Pipe(0)
				return near, nil
			}}
			begin := time.Now()
			_, err := d.Connect(t.Context())
			if time.Since(begin) != connect.HandshakeTimeout || strings.Join(hint.All(err), "") != hint.ConnectSilent.Do[0] || !strings.HasSuffix(err.Error(), "no answer within 30s") {
				t.Fatalf("%v, %q after %v", err, hint.All(err), time.Since(begin))
			}
		})
	})
	t.Run("dial", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d := &connect.Dialer{Name: name, Dial: func(ctx context.Context, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
			}}
			begin := time.Now()
			_, err := d.Connect(t.Context())
			if time.Since(begin) != connect.DialTimeout || strings.Join(hint.All(err), "") != hint.ConnectSilent.Do[0] {
				t.Fatalf("%v, %q after %v", err, hint.All(err), time.Since(begin))
			}
		})
	})
}

// The certificate is shown to whoever asks for one, and to nobody else; protocols are
// offered in their order.
func TestACertificateIsShownOnRequestAndProtocolsAreOffered(t *testing.T) {
	for _, auth := range []tls.ClientAuthType{tls.NoClientCert, tls.RequestClientCert, tls.RequireAnyClientCert} {
		states := make(chan tls.ConnectionState, 1)
		r := newRig(t, &tls.Config{ClientAuth: auth, NextProtos: []string{"ssh", "mqtt"}}, func(c net.Conn) {
			tc := c.(*tls.Conn)
			tc.Handshake()
			states <- tc.ConnectionState()
			c.Close()
		})
		own := testca.New(t).Issue("ada")
		r.dialer.Certificate, r.dialer.Protocols = &own, []string{"mqtt", "x"}
		c, err := r.dialer.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		state := <-states
		if shown := len(state.PeerCertificates) == 1; shown != (auth != tls.NoClientCert) || state.NegotiatedProtocol != "mqtt" || c.ConnectionState().NegotiatedProtocol != "mqtt" || state.ServerName != name {
			t.Errorf("%v: %d certificates, %q, %q", auth, len(state.PeerCertificates), state.NegotiatedProtocol, state.ServerName)
		}
		c.Close()
	}
}

// A service that wants a certificate says so once the handshake is over.
func TestAMissingCertificateIsToldAsThat(t *testing.T) {
	r := newRig(t, &tls.Config{ClientAuth: tls.RequireAnyClientCert}, func(c net.Conn) { c.(*tls.Conn).Handshake(); c.Close() })
	near, copied := r.local()
	if !isReset(near) {
		t.Error("the local side has ended in good order")
	}
	if err := <-copied; strings.Join(hint.All(err), "") != hint.ConnectCertificate.Do[0] {
		t.Errorf("%v, %q", err, hint.All(err))
	}
}
