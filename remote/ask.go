package remote

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"keystay/internal/plain"
)

const (
	// aboutPath is where a relay says what it is.
	aboutPath = "/.well-known/keystay.json"
	// maxAbout is how much of that is read, in bytes.
	maxAbout = 64 << 10
	// asks is how often a relay is asked over one connection: the quickest answer is
	// nearest to the round trip.
	asks = 3
)

// An About is what a relay says of itself to everybody.
type About struct {
	Policy        string // for new names: "open", "token" or "closed"
	KeyNames      string // the same for names made from a device's key
	CustomDomains bool   // it takes domains of a device's owner
	TCPPorts      string // that it gives out, as in "20000-20999"; empty is none
	Version       string // for people

	Address   net.Addr      // of the relay, or of a proxy
	RoundTrip time.Duration // the quickest of some answers, with the time that the relay took for it
}

// AskRelay asks the first candidate of a route what it says of itself, over a connection
// that is made as a link's is: through the same proxy, and its certificate is verified.
// It says nothing of the device: no identity is shown. The error is a *[NoRelayError].
func AskRelay(ctx context.Context, cfg DeviceConfig, r Route) (About, error) {
	cfg.Logger = slog.New(slog.DiscardHandler)
	relay := r.Candidates[0]
	w := &way{d: newDevice(cfg), addresses: r.Addresses}
	about, err := w.ask(ctx, relay, false)
	if isLostHello(err) {
		about, err = w.ask(ctx, relay, true)
	}
	if err != nil {
		return About{}, &NoRelayError{Relay: relay, Err: w.throughProxy(relay, err), rooted: cfg.RelayRoots != nil}
	}
	return about, nil
}

// ask is AskRelay with a small ClientHello or the usual one.
func (w *way) ask(ctx context.Context, relay string, small bool) (about About, err error) {
	host, port := splitRelay(relay)
	conn, err := w.dial(ctx, host, port, target{})
	if err != nil {
		return about, err
	}
	tc := tls.Client(conn, &tls.Config{ServerName: host, RootCAs: w.d.cfg.RelayRoots, MinVersion: tls.VersionTLS13,
		NextProtos: []string{protoHTTP}, CurvePreferences: curves(small)})
	if err := relayHandshake(ctx, tc, protoHTTP); err != nil {
		conn.Close()
		return about, err
	}
	used := false
	web := &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			if used {
				return nil, errors.New("it has ended the connection before all was asked")
			}
			used = true
			return tc, nil
		},
		MaxConnsPerHost: 1, MaxResponseHeaderBytes: maxAbout, DisableCompression: true,
	}
	defer web.CloseIdleConnections()
	defer tc.Close()
	for range asks {
		began := time.Now()
		said, err := askOnce(ctx, web, "https://"+relay+aboutPath)
		if err != nil {
			return about, err
		}
		if took := time.Since(began); about.RoundTrip == 0 || took < about.RoundTrip {
			said.RoundTrip = took
		} else {
			said.RoundTrip = about.RoundTrip
		}
		about = said
	}
	about.Address = conn.RemoteAddr()
	return about, nil
}

// askOnce asks once.
func askOnce(ctx context.Context, web *http.Transport, url string) (about About, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return about, err
	}
	resp, err := web.RoundTrip(req)
	if err != nil {
		return about, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAbout+1))
	if err != nil {
		return about, err
	}
	var said struct {
		Keystay       int    `json:"keystay"`
		Policy        string `json:"policy"`
		KeyNames      string `json:"key_names"`
		CustomDomains bool   `json:"custom_domains"`
		TCPPorts      string `json:"tcp_ports"`
		Version       string `json:"version"`
	}
	if resp.StatusCode != http.StatusOK || len(body) > maxAbout || json.Unmarshal(body, &said) != nil || said.Keystay == 0 {
		return about, fmt.Errorf("%w: HTTP %d to %s", errNotRelay, resp.StatusCode, aboutPath)
	}
	if said.KeyNames == "" { // a relay of before 2026-11-29 does not say it
		said.KeyNames = "open"
	}
	return About{Policy: plain.Cut(said.Policy, 16), KeyNames: plain.Cut(said.KeyNames, 16), CustomDomains: said.CustomDomains,
		TCPPorts: plain.Cut(said.TCPPorts, 64), Version: plain.Cut(said.Version, 64)}, nil
}
