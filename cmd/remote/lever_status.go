package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"keystay/acme"
	"keystay/internal/cli"
	"keystay/internal/keyname"
	"keystay/remote"
	"keystay/remote/watch"
	"keystay/remote/watch/ct"
)

// A status is what "remote status" shows of a run: the answer to it, as --json has it.
// Fields are added, never changed.
type status struct {
	PID         int          `json:"pid"`
	Version     string       `json:"version"`
	Since       time.Time    `json:"since"`
	State       string       `json:"state"`    // serving, or stopping
	Identity    string       `json:"identity"` // the label made from the device's key
	StateDir    string       `json:"state_dir"`
	Inspector   string       `json:"inspector,omitempty"` // the address of its page, with the token
	Intercepted bool         `json:"intercepted"`         // one of the names is
	Visitors    int          `json:"visitors"`
	Home        *homeStatus  `json:"home,omitempty"` // none where nobody comes without a relay
	Links       []linkStatus `json:"links"`
	Names       []nameStatus `json:"names"`
}

type linkStatus struct {
	Relay     string    `json:"relay"`
	RoundTrip float64   `json:"round_trip_ms,omitempty"` // none before the first is measured
	Since     time.Time `json:"since"`
	Node      string    `json:"node,omitempty"` // of the relay; none where it does not say that it has several
}

type nameStatus struct {
	Name        string      `json:"name"`
	URL         string      `json:"url"`
	Target      string      `json:"target"`
	Passed      bool        `json:"passed"`              // the service ends visitors' TLS, and has the key
	TCP         bool        `json:"tcp,omitempty"`       // it is a TCP port, whose bytes the relay sees
	Unreached   string      `json:"unreached,omitempty"` // why the service could not be reached yet
	Up          bool        `json:"up"`                  // visitors are led here, and there is a certificate
	Why         string      `json:"why,omitempty"`       // it is not up
	Relays      []string    `json:"relays,omitempty"`    // that lead visitors here
	Visitors    int         `json:"visitors"`
	Intercepted bool        `json:"intercepted"` // no whole look has found the device's own key alone since the alarm, or ct shows a foreign one
	Certificate *certStatus `json:"certificate,omitempty"`
	Outside     lookStatus  `json:"outside"`
	Alarm       *lookStatus `json:"alarm,omitempty"` // the last look of this run that found the name intercepted
	CT          ctStatus    `json:"ct"`
}

type certStatus struct {
	Until   time.Time  `json:"until"`
	Renewal *time.Time `json:"renewal,omitempty"` // when the next one is ordered; none where nothing is ordered
	Issuer  string     `json:"issuer"`
	Brought bool       `json:"brought"` // it is from files
}

// A lookStatus is what the last look from outside has found.
type lookStatus struct {
	State string     `json:"state"` // own, intercepted or not_run, or before the first look pending, or off
	Text  string     `json:"text"`  // for people
	Time  *time.Time `json:"time,omitempty"`
}

// A ctStatus is what the watch of certificate transparency knows.
type ctStatus struct {
	State    string     `json:"state"` // clear, foreign, blind, pending, or off
	Text     string     `json:"text"`  // for people
	Answered *time.Time `json:"answered,omitempty"`
	Foreign  []string   `json:"foreign,omitempty"` // SHA-256 of keys that are not the device's
}

const (
	stateServing, stateStopping = "serving", "stopping"
	isPending, isOff            = "pending", "off"
	ctClear, ctForeign, ctBlind = "clear", "foreign", "blind"
)

// status is what this run does now.
func (p *process) status() status {
	p.mu.Lock()
	cfg := p.cfg
	all := slices.Collect(maps.Values(p.names))
	services := make([]service, len(all))
	for i, pub := range all {
		services[i] = service{pub, shownLocal(pub.service), isPassed(pub.service), pub.files != nil, isPort(pub.service)}
	}
	p.mu.Unlock()
	s := status{PID: os.Getpid(), Version: cli.Version(), Since: p.began, State: stateServing, StateDir: cfg.StateDir, Inspector: p.inspection.url(),
		Identity: keyname.Label(p.device.PublicKey(), ""), Visitors: p.device.Visitors(), Links: []linkStatus{}, Names: []nameStatus{}}
	if p.drain.Err() != nil {
		s.State = stateStopping
	}
	s.Home = p.homes.status()
	for _, l := range p.device.Links() {
		s.Links = append(s.Links, linkStatus{l.Relay, float64(l.RTT.Microseconds()) / 1000, l.Since, l.Node})
	}
	orders, _ := deviceConfig(cfg, p.log) // which the start has checked
	orders.ACME.Dir = remote.ACMEDir(cfg.StateDir)
	for _, one := range services {
		n := p.nameStatus(one)
		n.Certificate = one.certificate(orders.ACME)
		n.CT = one.ct(p, n.Name)
		n.Intercepted = n.Alarm != nil && n.Outside.State != string(watch.Own) || n.CT.State == ctForeign
		s.Intercepted = s.Intercepted || n.Intercepted
		s.Names = append(s.Names, n)
	}
	slices.SortFunc(s.Names, func(a, b nameStatus) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// A service is a name that is served, with what of it changes with the configuration.
type service struct {
	*published
	target          string
	passed, brought bool
	port            bool // it is behind a TCP port
}

func (p *process) nameStatus(s service) nameStatus {
	n := nameStatus{Name: s.ln.Domain(), URL: s.ln.URL(), Target: s.target, Passed: s.passed && !s.port, TCP: s.port, Relays: s.ln.Relays(), Visitors: s.ln.Visitors()}
	if why := s.unreached.Load(); why != nil {
		n.Unreached = *why
	}
	over, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	if err := s.ln.Wait(over); p.drain.Err() != nil {
		n.Why = "it is about to end"
	} else if err != nil && (len(n.Relays) == 0 || !s.up.Load()) {
		n.Why = p.askedDNS(err).Error()
	} else {
		n.Up = len(n.Relays) > 0
	}
	round := s.round.Load()
	if alarm := s.alarm.Load(); alarm != nil {
		n.Alarm = lookOf(alarm)
	}
	switch why := p.whyNotLooked(s.passed, s.port); {
	case why != "":
		n.Outside = lookStatus{State: isOff, Text: why}
	case round == nil:
		n.Outside = lookStatus{State: isPending, Text: "not looked at yet"}
	default:
		n.Outside = *lookOf(round)
	}
	return n
}

func lookOf(r *watch.Round) *lookStatus {
	return &lookStatus{State: string(r.State()), Text: r.Text(), Time: &r.Time}
}

// certificate is what visitors are shown now, or nil where that is not known. Cfg is that
// of the orders.
func (s service) certificate(cfg acme.Config) *certStatus {
	cert := s.ln.Certificate()
	if cert == nil {
		return nil
	}
	c := &certStatus{Until: cert.NotAfter, Issuer: issuer(cert), Brought: s.brought}
	if !s.brought {
		if kept, err := acme.LookUp(cfg, s.ln.Domain()); err == nil {
			c.Renewal = &kept.Due
		}
	}
	return c
}

// issuer is who has issued a certificate, for people.
func issuer(cert *x509.Certificate) string {
	var o string
	if len(cert.Issuer.Organization) > 0 {
		o = cert.Issuer.Organization[0]
	}
	return cmp.Or(o, cert.Issuer.CommonName, "an unnamed CA")
}

// ct is what the watch of certificate transparency has kept of a name.
func (s service) ct(p *process, domain string) ctStatus {
	cfg := p.now()
	watched, why := isCTWatchedFor(cfg, ct.Name{Domain: domain, Certificate: s.ln.Certificate(), Brought: s.brought})
	switch {
	case s.port:
		return ctStatus{State: isOff, Text: "not watched: a TCP port has no certificate"}
	case s.passed:
		return ctStatus{State: isOff, Text: "not watched: behind tls:// the key is the service's own"}
	case !watched:
		return ctStatus{State: isOff, Text: "not watched: " + why}
	}
	known, err := ct.Load(ctDir(cfg.StateDir), domain)
	c := ctStatus{State: ctClear, Text: "no key that is not this device's"}
	if !known.Answered.IsZero() {
		c.Answered = &known.Answered
	}
	foreign := known.Alarming(s.brought)
	for _, f := range foreign {
		c.Foreign = append(c.Foreign, f.Key)
	}
	switch {
	case len(foreign) > 0:
		c.State, c.Text = ctForeign, fmt.Sprintf("intercepted: certificates with keys that are not this device's: %s", strings.Join(c.Foreign, ", "))
	case err != nil:
		c.State, c.Text = ctBlind, err.Error()
	case !known.Blind.IsZero():
		c.State, c.Text = ctBlind, "it does not work: the monitor does not show this device's own certificate"
	case known.Failure != "":
		c.State, c.Text = ctBlind, "the monitor does not answer: "+known.Failure
	case known.Answered.IsZero():
		c.State, c.Text = isPending, "not asked yet"
	}
	return c
}
