package browser

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

// serveHello says which host was asked for.
func serveHello(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, map[string]any{"host": r.Host})
}

// serveEvents sends an event stream in which each event waits for the page
// to confirm the one before, so that an intermediary that holds any back
// stops it for good. No clock is needed to tell.
func serveEvents(w http.ResponseWriter, r *http.Request, visit *run) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	for n := 1; n <= eventCount; n++ {
		fmt.Fprintf(w, "data: %d\n\n", n)
		if err := rc.Flush(); err != nil {
			return
		}
		if n < eventCount && !confirmed(r.Context(), visit, n) {
			return
		}
	}
}

// confirmed waits until the page has confirmed event n.
func confirmed(ctx context.Context, visit *run, n int) bool {
	late := time.NewTimer(stepLimit)
	defer late.Stop()
	select {
	case seen := <-visit.seen:
		return seen == n
	case <-late.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// serveSeen hands a confirmation to the event stream of its run.
func serveSeen(w http.ResponseWriter, r *http.Request, visit *run) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil {
		http.Error(w, "n is not a number", http.StatusBadRequest)
		return
	}
	late := time.NewTimer(stepLimit)
	defer late.Stop()
	select {
	case visit.seen <- n:
		w.WriteHeader(http.StatusNoContent)
	case <-late.C:
		http.Error(w, "no event stream is waiting", http.StatusConflict)
	case <-r.Context().Done():
	}
}

// serveEcho sends each WebSocket message back as it came.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(messageLimit)
	ctx, cancel := context.WithTimeout(r.Context(), stepLimit)
	defer cancel()
	for {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return // a close frame has been answered by Read
		}
		if err := conn.Write(ctx, kind, data); err != nil {
			return
		}
	}
}

// serveUpload answers with the size and the hash of what was sent.
func serveUpload(w http.ResponseWriter, r *http.Request) {
	hash := sha256.New()
	n, err := io.Copy(hash, http.MaxBytesReader(w, r.Body, uploadLimit))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	writeJSON(w, map[string]any{"bytes": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
}

// serveDownload sends bytes that do not compress, the same ones each time,
// and their hash in a header.
func (s *Site) serveDownload(w http.ResponseWriter, _ *http.Request) {
	data := make([]byte, cmp.Or(s.DownloadSize, DefaultDownload))
	rand.NewChaCha8([32]byte{}).Read(data)
	sum := sha256.Sum256(data)
	w.Header().Set("X-Sha256", hex.EncodeToString(sum[:]))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(data)
}

// serveGate answers when the run's report is in, with an empty picture.
func serveGate(w http.ResponseWriter, r *http.Request, visit *run) {
	late := time.NewTimer(gateLimit)
	defer late.Stop()
	select {
	case <-visit.reported:
	case <-late.C:
	case <-r.Context().Done():
	}
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(value)
}
