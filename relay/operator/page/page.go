package page

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"keystay/internal/signin"
	"keystay/relay/operator"
)

// A Page answers the operator's browser. Its fields are set before it is used and not
// changed afterwards. [Page.Run] runs beside it.
type Page struct {
	// API is asked for all that is shown, and told all that is done. Required.
	API *operator.Server

	// Hosts are the names by which a proxy asks for the page, in lower case. Whoever
	// comes by one of them is not on this machine, wherever the connection comes from.
	Hosts []string

	// Logger hears of who signs in; nil discards.
	Logger *slog.Logger

	users atomic.Pointer[signin.Passwords]

	once     sync.Once
	log      *slog.Logger
	mux      http.Handler
	sessions sessions
	guesses  *signin.Guesses
	hashing  *signin.Hashing
	renders  chan struct{} // has a place for each page that is being made
	history  history
	viewers  atomic.Int64
	unread   atomic.Int64  // pages that are on their way
	every    time.Duration // between two samples
	refused  atomic.Int64  // when the log was last told of a sign-in that failed, in Unix seconds
}

// maxRenders is how many pages are made at once. Each takes up to some hundred KiB and
// a processor for some milliseconds, which visitors could use.
const maxRenders = 2

const (
	// maxUnread is how many pages are on their way to browsers at once, beside those of
	// smallPage bytes at most, such as the one to sign in on.
	maxUnread, smallPage = 64, 16 << 10
	// readTimeout is how long a browser may take to read one.
	readTimeout = 20 * time.Second
)

// SetUsers sets who may sign in; nil is nobody. Whoever is signed in with a password
// that is no more is signed out. It may be called at any time.
func (p *Page) SetUsers(u *signin.Passwords) { p.users.Store(u) }

// Run takes the samples of the graphs until ctx ends, and then ends the streams of
// those who watch.
func (p *Page) Run(ctx context.Context) {
	p.init()
	defer p.history.close()
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		p.history.add(sampleOf(p.API.Relay.Status(), time.Now()))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Page) init() {
	p.once.Do(func() {
		p.every = cmp.Or(p.every, sampleEvery)
		p.log = cmp.Or(p.Logger, slog.New(slog.DiscardHandler))
		p.guesses, p.hashing = signin.NewGuesses(), signin.NewHashing()
		p.renders = make(chan struct{}, maxRenders)
		p.mux = p.routes()
	})
}

func (p *Page) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{name}", serveAsset)
	mux.HandleFunc("GET /sign-in", p.showSignIn)
	mux.HandleFunc("POST /sign-in", p.signIn)
	mux.HandleFunc("POST /sign-out", p.signOut)
	shown := func(path string, f func(*Page, *http.Request) (view, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if p.admit(w, r) {
				p.showOf(w, r, func() (view, error) { return f(p, r) })
			}
		})
	}
	shown("/{$}", (*Page).overview)
	shown("/remotes", (*Page).remotes)
	shown("/names", (*Page).names)
	shown("/tokens", (*Page).tokens)
	shown("/bans", (*Page).bans)
	shown("/audit", (*Page).audit)
	mux.HandleFunc("GET /events", p.events)
	mux.HandleFunc("GET /lever/{lever}", p.showLever)
	mux.HandleFunc("POST /lever/{lever}", p.pullLever)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, view{Title: "There is no such page", Name: "problem", Status: http.StatusNotFound}, nil)
	})
	return mux
}

// ServeHTTP answers a request for the page. The caller has looked at its Host.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.init()
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // without one there would be no Origin
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Method == http.MethodPost && !isOwn(r) {
		http.Error(w, "this did not come from a page of this relay", http.StatusForbidden)
		return
	}
	p.mux.ServeHTTP(w, r)
}

// policy lets the browser take what the page brings, and ask nobody else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
