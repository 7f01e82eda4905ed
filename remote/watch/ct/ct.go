package ct

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"keystay/internal/hint"
)

const (
	// CertSpotter is the public monitor that is asked where Config.URL is empty.
	CertSpotter = "https://api.certspotter.com/v1/issuances"

	// interval is the time between two questions for a name, to which up to spread is
	// added by chance. It is also how long nothing is asked after a monitor has said
	// that there were too many questions, and not until when.
	interval, spread = time.Hour, 5 * time.Minute

	// tick is how often it is looked which names there are, and which are due.
	tick = time.Minute

	// SignalLimit is how long the device's own newest certificate may take to show up.
	SignalLimit = 24 * time.Hour

	// again is how often what lasts is told.
	again = 24 * time.Hour

	// grace is how long a key may be unknown of a name whose certificates are brought
	// along: they are in the logs before their files are here.
	grace = 2 * interval

	// maxPages is how many pages of a monitor's answer are taken at once. The others
	// follow an hour later.
	maxPages = 5
)

// A Config says what a Watch looks for. Dir, Names, Known, Begun and Found are required.
type Config struct {
	// URL is where the monitor lists issuances; empty means CertSpotter.
	URL string

	// Dir is the folder in which the watch keeps how far it has come, a file for each
	// name. It is made with mode 0700, its files with 0600.
	Dir string

	// Names returns the names to look for. It is called once a minute.
	Names func() []Name

	// Known reports whether the device has asked for a certificate for a key, given as
	// the SHA-256 of the SubjectPublicKeyInfo, and since when that is noted.
	Known func(key [sha256.Size]byte) (since time.Time, known bool, err error)

	// Begun returns since when the device notes its keys.
	Begun func() (time.Time, error)

	// Found is told each certificate whose key is not known: when it is found, after
	// each start, and once a day, until it expires or its key is known after all.
	Found func(Finding)

	// Proxy chooses a proxy for the monitor; nil means the convention of the
	// environment (HTTPS_PROXY, ALL_PROXY and NO_PROXY).
	Proxy func(*http.Request) (*url.URL, error)

	// Roots are trusted for the monitor; nil means the system's.
	Roots *x509.CertPool

	// Logger hears how the watch fares; nil discards it.
	Logger *slog.Logger
}

// A Name is a name to look for.
type Name struct {
	Domain string // in normal form

	// Certificate is the one in use, and the test signal; nil where there is none.
	Certificate *x509.Certificate

	// Brought says that its certificates come from elsewhere, as files.
	Brought bool
}

// A Finding is a certificate for a name of the device, whose key the device does not know.
type Finding struct {
	Name        string
	Key         [sha256.Size]byte // SHA-256 of the SubjectPublicKeyInfo
	Certificate *x509.Certificate // or the precertificate (RFC 6962, section 3.1)
	ID          string            // the monitor's, of the issuance

	// Old says that the certificate is from before the device noted its keys. It may
	// have been the device's own.
	Old bool
}

// A Watch asks a monitor. Make one with New.
type Watch struct {
	cfg     Config
	log     *slog.Logger
	http    *http.Client
	entries map[string]*entry
	paused  time.Time // no question before
}

// An entry is a name with what is known of it.
type entry struct {
	State

	next time.Time            // no question before
	told map[string]time.Time // when Found was told of a key, in this run
	last string               // the failure that the log has
	said time.Time            // when the log has said that the watch does not work
}

// New returns a Watch that has not begun.
func New(cfg Config) *Watch {
	if cfg.URL == "" {
		cfg.URL = CertSpotter
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Watch{cfg: cfg, log: cfg.Logger, http: newClient(cfg.Roots, cfg.Proxy), entries: make(map[string]*entry)}
}

// Run watches until ctx ends. It asks one question at a time.
func (w *Watch) Run(ctx context.Context) {
	defer w.http.CloseIdleConnections()
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for ctx.Err() == nil {
		w.turn(ctx)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}

// Ask asks once what is new for a name, and returns what is known then. It tells nobody
// and keeps nothing. The error is why the monitor was not looked at to the end.
func (w *Watch) Ask(ctx context.Context, n Name) (State, error) {
	e := w.load(n.Domain)
	err := w.ask(ctx, n, e)
	return e.State, err
}

// IsLimit reports whether an error of Ask says that the monitor has been asked too much.
func IsLimit(err error) bool {
	var refused *answerError
	return errors.As(err, &refused) && refused.limited
}

// turn asks for the names that are due, the one first that was asked for longest ago.
func (w *Watch) turn(ctx context.Context) {
	names := w.cfg.Names()
	for domain := range w.entries {
		if !slices.ContainsFunc(names, func(n Name) bool { return n.Domain == domain }) {
			delete(w.entries, domain)
		}
	}
	for _, n := range names {
		if w.entries[n.Domain] == nil {
			w.entries[n.Domain] = w.load(n.Domain)
			w.tell(n, w.entries[n.Domain])
		}
	}
	slices.SortStableFunc(names, func(a, b Name) int {
		return w.entries[a.Domain].Asked.Compare(w.entries[b.Domain].Asked)
	})
	for _, n := range names {
		e := w.entries[n.Domain]
		if ctx.Err() != nil || time.Until(w.paused) > 0 || time.Until(e.next) > 0 {
			continue
		}
		w.look(ctx, n, e)
	}
}

// load reads what is known of a name.
func (w *Watch) load(domain string) *entry {
	e := &entry{told: make(map[string]time.Time)}
	var err error
	if e.State, err = Load(w.cfg.Dir, domain); err != nil {
		w.log.Warn("what was known of certificate transparency is lost; everything is asked for anew", "name", domain, "err", err)
	}
	if e.URL != w.cfg.URL { // another monitor counts otherwise
		e.State = State{URL: w.cfg.URL, Asked: e.Asked, Foreign: e.Foreign}
	}
	now := time.Now()
	e.next = now.Add(rand.N(spread))
	if due := e.Asked.Add(interval); due.After(e.next) && !e.Asked.After(now) {
		e.next = due.Add(rand.N(spread))
	}
	return e
}

// look asks what is new for a name, and looks at what is known of it.
func (w *Watch) look(ctx context.Context, n Name, e *entry) {
	e.Asked = time.Now()
	e.next = e.Asked.Add(interval + rand.N(spread))
	err := w.ask(ctx, n, e)
	if ctx.Err() != nil {
		return // the end of the run says nothing of the monitor
	}
	w.fares(n, e, err)
	w.tell(n, e)
	w.signal(n, e)
	if err := e.save(w.cfg.Dir, n.Domain); err != nil {
		w.log.Warn("what is known of certificate transparency is not kept", "name", n.Domain, "err", err)
	}
}

// fares keeps how the monitor has answered. The log hears of each failure that is
// another one than the last.
func (w *Watch) fares(n Name, e *entry, err error) {
	if err == nil {
		e.Answered, e.Failure = e.Asked, ""
		if e.last != "" {
			w.log.Info("the monitor of certificate transparency answers again", "name", n.Domain)
		}
		e.last = ""
		return
	}
	if e.Failure = err.Error(); e.Failure != e.last {
		w.log.Warn("the monitor of certificate transparency does not answer; asking again", "name", n.Domain, "monitor", w.cfg.URL, "err", err)
	}
	e.last = e.Failure
}

// signal looks whether the device's own newest certificate has shown up.
func (w *Watch) signal(n Name, e *entry) {
	if n.Certificate == nil {
		return
	}
	key := keyOf(n.Certificate)
	if slices.Contains(e.Seen, hexOf(key)) {
		if !e.Blind.IsZero() {
			w.log.Info("the watch of certificate transparency works again: the monitor shows this device's certificate", "name", n.Domain)
		}
		e.Blind = time.Time{}
		return
	}
	issued := n.Certificate.NotBefore
	if since, known, err := w.cfg.Known(key); err == nil && known && since.After(issued) {
		issued = since
	}
	if time.Since(issued) < SignalLimit {
		return
	}
	if e.Blind.IsZero() {
		e.Blind = time.Now()
	}
	if time.Since(e.said) < again {
		return
	}
	e.said = time.Now()
	why := "the monitor does not show the certificate that this device had issued " + issued.UTC().Format(time.RFC3339)
	if e.Failure != "" {
		why = e.Failure
	}
	w.log.Error("the watch of certificate transparency does not work", "name", n.Domain, "monitor", w.cfg.URL, "why", why, hint.Attr(hint.CTBlind.With("NAME", n.Domain)))
}

// sctList is the extension of a certificate that holds signed timestamps of logs (RFC
// 6962, section 3.3).
var sctList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// IsLogged reports whether a certificate says that it is in logs: it holds timestamps of
// them, whose signatures are not looked at.
func IsLogged(cert *x509.Certificate) bool {
	return slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(sctList) })
}

// IsPublic reports whether the CA whose ACME directory is at a URL is one that publishes
// its certificates in logs that public monitors read. It is false for CAs that are not
// known, and for those for tests.
func IsPublic(directory string) bool {
	u, err := url.Parse(directory)
	return err == nil && slices.Contains([]string{
		"acme-v02.api.letsencrypt.org",
		"dv.acme-v02.api.pki.goog",
		"acme.zerossl.com",
		"acme.sectigo.com",
		"acme.ssl.com",
		"acme.digicert.com",
		"acme-api.actalis.com",
	}, u.Hostname())
}
