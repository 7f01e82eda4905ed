package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/socket"
)

const (
	// leverTimeout is how long a request may take to come, and each part of an answer to
	// be written.
	leverTimeout = 10 * time.Second
	// sweepAfter is how old a socket is that nobody answers on and that is taken away: a
	// younger one may be about to be listened on.
	sweepAfter = time.Minute
	// maxAlike is how many runs with the same number of their process may share a state
	// directory, as in containers.
	maxAlike = 16
)

// runsDir is the folder of a state directory with a socket for each run.
func runsDir(stateDir string) string { return filepath.Join(stateDir, "runs") }

// levers answer "remote status", "stop" and "reload" on a socket of this run. They are
// HTTP with JSON, for this version of the program alone. The zero value answers nobody.
type levers struct {
	http   *http.Server
	closed chan struct{} // nobody is answered any more
	over   chan struct{} // the run has come to its end
}

// openLevers opens the socket. Without it everything else works.
func (p *process) openLevers() *levers {
	ln, err := listenLevers(p.cfg.StateDir)
	if err != nil {
		err = hint.NoRunSocket.Error(err, "FILE", filepath.Join(runsDir(p.cfg.StateDir), "PID.sock"))
		p.log.Info("there is no socket for remote status, stop and reload", "err", err, hint.Attr(hint.All(err)))
		return &levers{}
	}
	l := &levers{closed: make(chan struct{}), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.status()) })
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) { answer(w, p.reload()) })
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, r *http.Request) {
		answer(w, stopping{Visitors: p.device.Visitors(), Until: time.Now().Add(p.now().DrainTimeout)})
		p.endDrain()
		select {
		case <-l.over:
			answer(w, stopping{Ended: true})
		case <-r.Context().Done():
		}
	})
	l.http = &http.Server{
		Handler:           own(mux),
		ReadHeaderTimeout: leverTimeout,
		IdleTimeout:       leverTimeout,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	go func() {
		defer close(l.closed)
		_ = l.http.Serve(ln)
	}()
	return l
}

// close tells those who wait that the run has come to its end, and removes the socket.
func (l *levers) close() {
	if l.http == nil {
		return
	}
	close(l.over)
	ctx, cancel := context.WithTimeout(context.Background(), leverTimeout)
	defer cancel()
	if l.http.Shutdown(ctx) != nil {
		_ = l.http.Close()
	}
	<-l.closed
}

// connKey is the context key of the connection of a request.
type connKey struct{}

// own refuses everybody but the user who runs the remote, and root. Where the system does
// not tell whose a connection is, as on Windows, the rights of the folder decide.
func own(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*net.UnixConn); ok {
			uid, err := socket.PeerUID(c)
			if err != nil && !errors.Is(err, errors.ErrUnsupported) || err == nil && uid != 0 && uid != os.Geteuid() {
				http.Error(w, "this remote answers root and its own user", http.StatusForbidden)
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// answer writes a value as one line of JSON, at once.
func answer(w http.ResponseWriter, v any) {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(leverTimeout))
	_ = json.NewEncoder(w).Encode(v) // whoever has gone hears nothing
	_ = c.Flush()
	_ = c.SetWriteDeadline(time.Time{})
}

// listenLevers opens the socket of this run, with mode 0600 in a folder with mode 0700.
func listenLevers(stateDir string) (net.Listener, error) {
	dir := runsDir(stateDir)
	if err := ownfile.MkdirAll(dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // it is a folder
		return nil, err
	}
	sweep(dir)
	pid := strconv.Itoa(os.Getpid())
	path := filepath.Join(dir, pid+".sock")
	for n := 2; n <= maxAlike; n++ {
		if _, err := os.Lstat(path); err != nil {
			break
		}
		path = filepath.Join(dir, pid+"-"+strconv.Itoa(n)+".sock")
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, err
	}
	return ln, nil
}

// sockets returns the sockets in the folder of runs.
func sockets(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".sock") {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

// sweep takes away what runs have left that were killed.
func sweep(dir string) {
	paths, _ := sockets(dir)
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || time.Since(info.ModTime()) < sweepAfter {
			continue
		}
		c, err := net.DialTimeout("unix", path, leverTimeout)
		switch {
		case err == nil:
			_ = c.Close()
		case isDead(err):
			_ = os.Remove(path)
		}
	}
}
