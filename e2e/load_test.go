//go:build linux

package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// serveTakeoverSite answers with the bytes that body makes from n, all at once
// or over a time; what is posted is answered with its hash.
func serveTakeoverSite(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		h := sha256.New()
		if _, err := io.Copy(h, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, hex.EncodeToString(h.Sum(nil)))
		return
	}
	n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
	pause, _ := time.ParseDuration(r.FormValue("pause"))
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	slowly(w, body(n), pause)
}

func body(n int64) io.Reader {
	var seed [32]byte
	copy(seed[:], strconv.FormatInt(n, 10))
	return io.LimitReader(rand.NewChaCha8(seed), n)
}

// slowly copies with a pause after each 64 KiB.
func slowly(w io.Writer, r io.Reader, pause time.Duration) error {
	for {
		_, err := io.CopyN(w, r, 64<<10)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		<-time.After(pause)
	}
}

func hash(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), err
}

// transport reaches the name through the relay.
func (l *lineage) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, l.public)
		},
		TLSClientConfig:     l.client,
		TLSHandshakeTimeout: takeoverPatience,
	}
}

// fetch gets n bytes and checks them.
func (l *lineage) fetch(ctx context.Context, tr http.RoundTripper, n int64, pause time.Duration) error {
	req, err := http.NewRequestWithContext(ctx, "GET", fmt.Sprintf("https://%s/?n=%d&pause=%v", takeoverName, n, pause), nil)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := hash(resp.Body)
	if err != nil {
		return err
	}
	if want, _ := hash(body(n)); resp.StatusCode != 200 || got != want {
		return fmt.Errorf("%s, and the hash is wrong", resp.Status)
	}
	return nil
}

// A load is what visitors do while relays come and go.
type load struct {
	l        *lineage
	ctx      context.Context // ends when no more is begun
	wg       sync.WaitGroup
	short    atomic.Int64 // requests that went well, by kind
	long     atomic.Int64
	idle     atomic.Int64
	sites    atomic.Int64 // requests to the relay itself
	mu       sync.Mutex
	failures []error
	times    []time.Duration // of short requests
}

func (v *load) failed(what string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failures = append(v.failures, fmt.Errorf("%s %s: %w", time.Now().Format("15:04:05.000"), what, err))
}

// repeat does something until no more is begun.
func (v *load) repeat(what string, count *atomic.Int64, f func() error) {
	v.wg.Go(func() {
		for v.ctx.Err() == nil {
			if err := f(); err != nil {
				v.failed(what, err)
				return
			}
			count.Add(1)
		}
	})
}

func (v *load) run() {
	fresh := v.l.transport()
	fresh.DisableKeepAlives = true
	one := func() error {
		start := time.Now()
		err := v.l.fetch(context.Background(), fresh, rand.Int64N(20000), 0)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.times = append(v.times, time.Since(start))
		return err
	}
	v.repeat("one after the other", &v.short, one)
	v.repeat("at once", &v.short, func() error {
		errs := make(chan error, 8)
		for range cap(errs) {
			go func() { errs <- one() }()
		}
		var all error
		for range cap(errs) {
			all = errors.Join(all, <-errs)
		}
		return all
	})
	plain := v.l.logged(`msg=listening for=http addr=(\S+)`)
	v.repeat("plain HTTP", &v.sites, func() error { return v.status(fresh, "http://"+plain, takeoverRelay, 308) })
	own := v.l.transport()
	own.TLSClientConfig, own.DisableKeepAlives = v.l.client.Clone(), true
	own.TLSClientConfig.ServerName = takeoverRelay
	v.repeat("the relay's own site", &v.sites, func() error { return v.status(own, "https://"+takeoverRelay, takeoverRelay, 200) })
	for range 3 {
		v.repeat("long download", &v.long, func() error {
			// In the middle it is on a lane.
			return v.l.fetch(context.Background(), fresh, 4<<20+rand.Int64N(1<<20), 50*time.Millisecond)
		})
	}
	v.repeat("long upload", &v.long, func() error { return v.upload(fresh) })
	for range 3 {
		v.idleThenActive()
	}
}

// status asks for the root of url, now and then.
func (v *load) status(tr *http.Transport, url, host string, want int) error {
	if strings.HasPrefix(url, "http:") {
		tr = &http.Transport{DisableKeepAlives: true}
	}
	req, err := http.NewRequest("GET", url+"/", nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s", resp.Status)
	}
	<-time.After(10 * time.Millisecond)
	return nil
}

func (v *load) upload(tr http.RoundTripper) error {
	n := 3<<20 + rand.Int64N(1<<20)
	r, w := io.Pipe()
	go func() { w.CloseWithError(slowly(w, body(n), 50*time.Millisecond)) }()
	req, err := http.NewRequest("POST", "https://"+takeoverName+"/", r)
	if err != nil {
		return err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want, _ := hash(body(n)); err == nil && string(got) != want {
		err = fmt.Errorf("%s: the hash is wrong", resp.Status)
	}
	return err
}

// idleThenActive uses one connection, for all the time, now and then.
func (v *load) idleThenActive() {
	tr := v.l.transport()
	tr.MaxConnsPerHost = 1
	var cut cuts
	cut.watch(tr)
	v.wg.Go(func() {
		defer tr.CloseIdleConnections()
		for {
			err := v.l.fetch(context.Background(), tr, rand.Int64N(20000), 0)
			if err == nil && cut.Load() > 0 {
				err = errors.New("the connection had been cut")
			}
			if err != nil {
				v.failed("idle, then active", err)
				return
			}
			v.idle.Add(1)
			select {
			case <-v.ctx.Done():
				return
			case <-time.After(time.Second + rand.N(4*time.Second)):
			}
		}
	})
}
