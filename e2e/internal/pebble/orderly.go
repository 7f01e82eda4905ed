package pebble

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/db"
)

// finalizePath is where Pebble's answers say that an order is to be finalized.
const finalizePath = "/finalize-order/"

// orderly stands before Pebble's API and keeps it from coming to a standstill, in which all
// later requests wait, too:
//
//   - The answer about an order locks the order for reading twice. It waits for ever where
//     something else, such as the end of the issuance, wants to write to the order in between.
//   - A new order looks at all authorizations, with the store locked for reading, and the
//     answer about an authorization reads the store with the authorization locked. Both wait
//     for ever where a third request wants to write to the store in between.
//
// So there is one signed request at a time, and that to finalize an order lasts until its
// certificate is there.
type orderly struct {
	next  http.Handler
	store *db.MemoryStore
	mu    sync.Mutex
}

// ServeHTTP implements [http.Handler].
func (o *orderly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost { // it asks for the directory, or a nonce
		o.next.ServeHTTP(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next.ServeHTTP(w, r) // the answer is short enough to leave after this returns
	if id, finalizes := strings.CutPrefix(r.URL.Path, finalizePath); finalizes {
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
