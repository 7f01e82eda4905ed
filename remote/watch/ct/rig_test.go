package ct

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "xyz.relay.test"

// A monitor answers questions as Cert Spotter does, unless it is told otherwise.
type monitor struct {
	mu        sync.Mutex
	list      []issuance
	page      int                                         // issuances on one
	instead   func(*http.Request) (*http.Response, error) // answers, if not nil
	questions []string                                    // as in "xyz.relay.test after 2"
	at        []time.Time
}

// add publishes a certificate, with the next number as its id.
func (m *monitor) add(der []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, issuance{ID: strconv.Itoa(len(m.list) + 1), DER: der})
}

// answer makes the monitor answer so; nil is as it should.
func (m *monitor) answer(f func(*http.Request) (*http.Response, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.instead = f
}

// asked returns how many questions there were.
func (m *monitor) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.questions)
}

func (m *monitor) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := r.URL.Query()
	m.questions = append(m.questions, q.Get("domain")+" after "+q.Get("after"))
	m.at = append(m.at, time.Now())
	if m.instead != nil {
		return m.instead(r)
	}
	after, _ := strconv.Atoi(q.Get("after"))
	list := m.list[after:]
	if m.page > 0 {
		list = list[:min(len(list), m.page)]
	}
	b, err := json.Marshal(append([]issuance{}, list...))
	return reply(http.StatusOK, string(b)), err
}

func reply(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func always(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return reply(status, body, header...), nil }
}

func away(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// A rig is a device with a watch.
type rig struct {
	t       *testing.T
	ca      *testca.CA
	monitor *monitor
	dir     string
	begun   time.Time

	mu    sync.Mutex
	names []Name
	known map[[sha256.Size]byte]time.Time
	found []Finding
	log   bytes.Buffer
	stop  func()
}

// newRig returns a device with a certificate of its own, which is not published yet.
func newRig(t *testing.T) *rig {
	r := &rig{t: t, ca: testca.New(t), monitor: &monitor{}, dir: t.TempDir(), begun: time.Now().Add(-time.Minute), known: make(map[[sha256.Size]byte]time.Time)}
	r.names = []Name{{Domain: domain, Certificate: r.own()}}
	return r
}

// own returns a new certificate of the device.
func (r *rig) own() *x509.Certificate {
	leaf := r.ca.IssueValid(time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour), domain).Leaf
	r.know(keyOf(leaf))
	return leaf
}

func (r *rig) know(key [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[key] = time.Now()
}

// foreign returns a certificate that the device knows nothing of.
func (r *rig) foreign(names ...string) []byte {
	return r.ca.IssueValid(time.Now(), time.Now().Add(90*24*time.Hour), names...).Leaf.Raw
}

// start begins to watch, anew after stop.
func (r *rig) start() *Watch {
	locked := func(f func()) {
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
	}
	w := New(Config{
		Dir:   r.dir,
		Names: func() (all []Name) { locked(func() { all = append(all, r.names...) }); return all },
		Known: func(key [sha256.Size]byte) (since time.Time, known bool, err error) {
			locked(func() { since, known = r.known[key] })
			return since, known, nil
		},
		Begun:  func() (time.Time, error) { return r.begun, nil },
		Found:  func(f Finding) { locked(func() { r.found = append(r.found, f) }) },
		Logger: slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) { locked(func() { r.log.Write(b) }); return len(b), nil }), nil)),
	})
	w.http.Transport = r.monitor
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { w.Run(ctx); close(done) }()
	r.stop = func() { cancel(); <-done }
	return w
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// told returns how many findings there were, and forgets them.
func (r *rig) told() (all []Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all, r.found = r.found, nil
	return all
}

// logged returns how many lines of the log have that message, and forgets the log.
func (r *rig) logged(message string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := strings.Count(r.log.String(), message)
	r.log.Reset()
	return n
}

const (
	blind = "the watch of certificate transparency does not work"
	works = "the watch of certificate transparency works again"
	hours = time.Hour + 10*time.Minute // after which each name has been asked for once more
)

// bubble runs a test of a watch in a bubble. The device's own certificate is published.
func bubble(t *testing.T, test func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.monitor.add(r.names[0].Certificate.Raw)
		r.start()
		defer func() { r.stop() }()
		test(t, r)
	})
}

// letPass lets so much time go by.
func letPass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// precertificate returns one for a key of its own (RFC 6962, section 3.1).
func precertificate(t *testing.T, names ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now(), NotAfter: time.Now().Add(24 * time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: asn1.NullBytes}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
