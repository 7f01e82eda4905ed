package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/remote/watch/ct"
)

// A monitor of certificate transparency, in the form of Cert Spotter's API v1.
type monitor struct {
	mu     sync.Mutex
	list   []issuance
	status int // of all answers; 0 is as it should be
	srv    *httptest.Server
}

type issuance struct {
	ID  string `json:"id"`
	DER []byte `json:"cert_der"`
}

// show publishes certificates.
func (m *monitor) show(ders ...[]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, der := range ders {
		m.list = append(m.list, issuance{strconv.Itoa(len(m.list) + 1), der})
	}
}

func (m *monitor) answer(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = status
}

func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status != 0 && m.status != http.StatusOK {
		w.WriteHeader(m.status)
		return
	}
	after, _ := strconv.Atoi(r.URL.Query().Get("after"))
	_ = json.NewEncoder(w).Encode(append([]issuance{}, m.list[min(after, len(m.list)):]...))
}

// startMonitor starts one, on loopback.
func startMonitor() *monitor {
	m := &monitor{}
	m.srv = httptest.NewServer(m)
	return m
}

func (m *monitor) url() string { return m.srv.URL + "/v1/issuances" }

// monitorCommand is the command
//
//	monitor show FILE...    publish the certificates that are first in these files
//	monitor answer STATUS   answer every question so; 200 is as it should be
//	monitor found DIR NAME FILE
//	                        the watch of a state directory has found that certificate
//
// The first one starts the monitor; its URL is then $MONITOR.
func monitorCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: monitor show FILE...|answer STATUS|found DIR NAME FILE")
	}
	w := settingOf(ts)
	if w.monitor == nil {
		w.monitor = startMonitor()
		ts.Setenv("MONITOR", w.monitor.url())
	}
	switch args[0] {
	case "show":
		for _, pattern := range args[1:] {
			w.monitor.show(firstCertificate(ts, pattern))
		}
	case "found":
		if len(args) != 4 {
			ts.Fatalf("usage: monitor found DIR NAME FILE")
		}
		der := firstCertificate(ts, args[3])
		leaf, err := x509.ParseCertificate(der)
		ts.Check(err)
		key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		b, err := json.Marshal(ct.State{URL: w.monitor.url(), After: "2", Asked: time.Now(),
			Foreign: []ct.Foreign{{Key: hex.EncodeToString(key[:]), ID: "2", DER: der, NotAfter: leaf.NotAfter, Found: time.Now()}}})
		ts.Check(err)
		dir := filepath.Join(ts.MkAbs(args[1]), "ct")
		ts.Check(os.MkdirAll(dir, 0o700))
		ts.Check(os.WriteFile(filepath.Join(dir, args[2]+".json"), b, 0o600))
	case "answer":
		status, err := strconv.Atoi(args[1])
		ts.Check(err)
		w.monitor.answer(status)
	default:
		ts.Fatalf("the monitor cannot %s", args[0])
	}
}

// firstCertificate returns the first certificate in the one file of a pattern.
func firstCertificate(ts *testscript.TestScript, pattern string) []byte {
	files, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%d files %s", len(files), pattern)
	}
	b, err := os.ReadFile(files[0])
	ts.Check(err)
	block, _ := pem.Decode(b)
	return block.Bytes
}
