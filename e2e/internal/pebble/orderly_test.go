package pebble

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
)

// Pebble's API as it is while it makes a certificate: the order is finalized at once, and
// gets the certificate later.
type issuing struct {
	store *db.MemoryStore
	order *core.Order
	chals atomic.Int32
	at    atomic.Int32 // signed requests
	most  atomic.Int32
	wg    sync.WaitGroup
}

// ServeHTTP implements [http.Handler].
func (i *issuing) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	i.most.Store(max(i.most.Load(), i.at.Add(1)))
	defer i.at.Add(-1)
	runtime.Gosched()               // lets others come, if they are let in
	if r.URL.Path == newOrderPath { // as Pebble does: it looks at all authorizations
		i.store.FindValidAuthorization("", acme.Identifier{})
		return
	}
	if a := i.store.GetAuthorizationByID(strings.TrimPrefix(r.URL.Path, authzPath)); a != nil {
		a.Lock()
		defer a.Unlock()
		i.store.GetAccountByID("") // as Pebble does
		return
	}
	if r.URL.Path == challengePath {
		chal := &core.Challenge{ID: fmt.Sprint(i.chals.Add(1))}
		i.store.AddChallenge(chal)
		return
	}
	if r.URL.Path != finalizePath+i.order.ID {
		i.order.RLock()
		defer i.order.RUnlock()
		i.order.RLock() // as Pebble does
		defer i.order.RUnlock()
		return
	}
	i.order.Lock()
	i.order.BeganProcessing = true
	i.order.Unlock()
	made := time.After(20 * time.Millisecond)
	i.wg.Go(func() {
		<-made
		i.order.Lock()
		i.order.CertificateObject = &core.Certificate{}
		i.order.Unlock()
	})
}

// Paths of Pebble's.
const (
	orderPath     = "/my-order/"
	authzPath     = "/authZ/"
	challengePath = "/chalZ/"
)

// An order is issued by the time that the request to finalize it is answered, and signed
// requests come one at a time.
func TestSignedRequestsComeOneByOne(t *testing.T) {
	store := db.NewMemoryStore()
	later := time.Now().Add(time.Hour)
	order := &core.Order{ID: "1", Order: acme.Order{Identifiers: []acme.Identifier{{}}},
		AuthorizationObjects: []*core.Authorization{{Authorization: acme.Authorization{Status: acme.StatusValid}, ExpiresDate: later}}}
	if _, err := store.AddOrder(order); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AddAuthorization(&core.Authorization{ID: "1"}); err != nil {
		t.Fatal(err)
	}
	i := &issuing{store: store, order: order}
	api := &orderly{next: i, store: store}
	ask := func(path string) {
		api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil))
	}
	ask(finalizePath + "1")
	if status, err := order.GetStatus(); status != acme.StatusValid || err != nil {
		t.Errorf("after the answer to the request to finalize it: %s, %v", status, err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { ask(orderPath + "1") })
		wg.Go(func() { ask(finalizePath + "1") })
		wg.Go(func() { ask(newOrderPath) })
		wg.Go(func() { ask(authzPath + "1") })
		wg.Go(func() { ask(challengePath) })
	}
	wg.Wait()
	if n := i.most.Load(); n != 1 {
		t.Errorf("%d signed requests at once", n)
	}
	ask(finalizePath + "nobody's")
	i.wg.Wait()
}
