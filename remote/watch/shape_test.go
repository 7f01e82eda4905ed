package watch_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"keystay/internal/testca"
	"keystay/remote/watch"
)

// heard is a connection some of whose bytes were read already.
type heard struct {
	net.Conn
	in io.Reader
}

func (h *heard) Read(p []byte) (int, error) { return h.in.Read(p) }

// hear reads the record of a hello, and returns a connection that has it still.
func hear(c net.Conn) (net.Conn, []byte) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(c, head); err != nil {
		return c, nil
	}
	body := make([]byte, binary.BigEndian.Uint16(head[3:]))
	n, _ := io.ReadFull(c, body)
	return &heard{c, io.MultiReader(bytes.NewReader(head), bytes.NewReader(body[:n]), c)}, body[:n]
}

// isFirefox reports whether a hello offers ffdhe2048 and ffdhe3072, as Firefox's alone does.
func isFirefox(hello []byte) bool { return bytes.Contains(hello, []byte{0x01, 0x00, 0x01, 0x01}) }

// Somebody is between every Firefox and the device, and lets all others pass. A probe that
// he has met is one that finds him, or that was not run.
func TestWhoIsBetweenOneBrowserAloneIsNotClearedByAnother(t *testing.T) {
	for what, c := range map[string]struct {
		config *tls.Config // nil ends the connection
		want   watch.State
	}{
		"with its share of P-256":            {&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, watch.Intercepted},
		"with P-521, which it has not shown": {&tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, watch.Intercepted},
		"ending its connections":             {nil, watch.NotRun},
	} {
		t.Run(what, func(t *testing.T) {
			met := false
			for n := 0; !met && n < 100; n++ { // each shape is as likely as the others
				synctest.Test(t, func(t *testing.T) {
					d, public := newDevice(t), testca.New(t)
					spy := public.Issue(name)
					way := d.to(func(conn net.Conn) {
						conn, hello := hear(conn)
						if !isFirefox(hello) {
							d.serve(conn, d.cert, true, d.key)
							return
						}
						met = true
						if c.config != nil {
							config := c.config.Clone()
							config.Certificates = []tls.Certificate{spy}
							s := tls.Server(conn, config)
							_ = s.Handshake()
							s.Close()
						}
					})
					round, alarms := first(t, &watch.Watch{Resolvers: []watch.Resolver{gives("192.0.2.1")}, Ways: []watch.Way{way}, Roots: public.Pool()}, d.name())
					want := watch.Own
					if met {
						want = c.want
					}
					if round.State() != want || (len(alarms) > 0) != (want == watch.Intercepted) {
						t.Errorf("%q, want %s; %d alarms", round.Text(), want, len(alarms))
					}
				})
			}
			if !met {
				t.Error("no probe is a Firefox")
			}
		})
	}
}
