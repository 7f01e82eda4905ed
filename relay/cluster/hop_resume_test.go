package cluster

import (
	"crypto/tls"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/memconn"
)

// A handshake for a visitor takes up the session of an earlier one, unless a certificate
// has been replaced or has ended meanwhile; those of other connections never do.
func TestSessionsAreTakenUpForHopsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		near, far := r.credentials("a"), r.credentials("b")
		shake := func(alpn string) (resumed bool, err error) {
			c, s := memconn.Pipe(0)
			defer c.Close()
			go func() {
				defer s.Close()
				tc := tls.Server(&framing.TLSRecordConn{Conn: s}, far.server(alpn, false))
				tc.Write(encodeYes(someHost))
			}()
			tc := tls.Client(&framing.TLSRecordConn{Conn: c}, near.client("b", alpn))
			_, err = readAnswer(tc)
			return tc.ConnectionState().DidResume, err
		}
		for i, c := range []struct {
			what string
			do   func()
			alpn string
			want bool
		}{
			{"the first hop", func() {}, ProtocolHop, false},
			{"the second", func() {}, ProtocolHop, true},
			{"a connection of nodes", func() {}, ProtocolNode, false},
			{"the second of these", func() {}, ProtocolNode, false},
			{"with other credentials at the far end", func() { far = r.credentials("b") }, ProtocolHop, false},
			{"with these again", func() {}, ProtocolHop, true},
			{"with other credentials at the near end", func() { near = r.credentials("a") }, ProtocolHop, false},
		} {
			c.do()
			if resumed, err := shake(c.alpn); err != nil || resumed != c.want {
				t.Errorf("%d, %s: %v, %v", i, c.what, resumed, err)
			}
		}
		time.Sleep(time.Until(near.Ends().Add(time.Minute)))
		if _, err := shake(ProtocolHop); err == nil {
			t.Error("a certificate that has ended is good")
		}
	})
}
