package pebble

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/db"
)

// Paths of Pebble's, which an order's answers tell.
const (
	orderPath    = "/my-order/"
	finalizePath = "/finalize-order/"
)

// orderly stands before Pebble's API and keeps it from coming to a standstill: its
// answer about an order locks the order for reading twice, and waits for ever where
// something else, such as the end of the issuance, wants to write to the order in
// between. All later requests then wait, too. So there is one request about orders at a
// time, and that to finalize one lasts until its certificate is there.
type orderly struct {
	next  http.Handler
	store *db.MemoryStore
	mu    sync.Mutex
}

// ServeHTTP implements [http.Handler].
func (o *orderly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, finalizes := strings.CutPrefix(r.URL.Path, finalizePath)
	if !finalizes && !strings.HasPrefix(r.URL.Path, orderPath) {
		o.next.ServeHTTP(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next.ServeHTTP(w, r) // the answer is short enough to leave after this returns
	if finalizes {
		o.await(id)
	}
}

// issuance is how long Pebble may take to make a certificate; it takes milliseconds.
const issuance = 10 * time.Second

// await waits until an order is not being processed any more.
func (o *orderly) await(id string) {
	for end := time.Now().Add(issuance); time.Now().Before(end); <-time.After(time.Millisecond) {
		order := o.store.GetOrderByID(id)
		if order == nil {
			return
		}
		if status, err := order.GetStatus(); err != nil || status != acme.StatusProcessing {
			return
		}
	}
}
