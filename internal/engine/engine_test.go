package engine_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// serve has a handler answer on a unix socket for an engine, until the test ends or stop is
// called.
func serve(t *testing.T, socket string, h http.Handler) (stop func()) {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = ln
	s.Start()
	t.Cleanup(s.Close)
	return s.Close
}

// socket is a path that is short enough for one.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "engine.sock")
}

// A list as an engine has written it is read.
func TestListIsRead(t *testing.T) {
	recorded, err := os.ReadFile("testdata/containers.json")
	if err != nil {
		t.Fatal(err)
	}
	path := socket(t)
	serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/containers/json" {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = w.Write(recorded)
	}))
	list, err := engine.New(path).List(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	web := list[0]
	if web.Name() != "web" || web.State != "running" || web.Labels["keystay.domain"] != "xyz.relay.test" ||
		web.NetworkSettings.Networks["bridge"].IPAddress != "172.17.0.2" || len(web.Ports) != 2 || web.Ports[0] != (engine.Port{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}) {
		t.Errorf("%+v", web)
	}
	if list[1].HostConfig.NetworkMode != "host" || list[1].Name() != "backup" {
		t.Errorf("%+v", list[1])
	}
}

// What is wrong with an engine is said with its socket, and its own words.
func TestEngineThatFailsIsSaid(t *testing.T) {
	path := socket(t)
	e := engine.New(path)
	if _, err := e.List(t.Context()); err == nil || !strings.Contains(err.Error(), "the engine at "+path+": dial unix") {
		t.Error(err)
	}
	serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"message":"client version 1.1 is too old"}`, http.StatusBadRequest)
	}))
	if _, err := e.List(t.Context()); err == nil || !strings.Contains(err.Error(), "is too old") {
		t.Error(err)
	}
}

// Starts and stops are followed, through a restart of the engine; it is told once that it
// is away, and what it then has is the first that comes again.
func TestContainersAreFollowedThroughARestart(t *testing.T) {
	path := socket(t)
	var list atomic.Value // what the engine has
	events := make(chan string)
	engineOf := func() http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, list.Load().(string))
		})
		mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			for {
				select {
				case event := <-events:
					_, _ = io.WriteString(w, event)
					_ = http.NewResponseController(w).Flush()
					if event == "" {
						return
					}
				case <-r.Context().Done():
					return
				}
			}
		})
		return mux
	}
	changes, losses := make(chan int, 100), make(chan error, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		engine.New(path).Follow(ctx, func(l []engine.Container) { changes <- len(l) }, func(err error) { losses <- err })
	}()
	next := func(want int) {
		t.Helper()
		for got := -1; got != want; { // one list may be told twice
			select {
			case got = <-changes:
			case <-time.After(patience):
				t.Fatalf("there are never %d containers", want)
			}
		}
	}
	lost := func(part string) {
		t.Helper()
		select {
		case err := <-losses:
			if !strings.Contains(err.Error(), part) {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatal("no loss is told")
		}
	}
	of := func(n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"Id":"0123456789abcdef"},`, n), ",") + "]"
	}
	lost("no such file")
	list.Store(of(1))
	stop := serve(t, path, engineOf())
	next(1)
	list.Store(of(2))
	events <- `{"Type":"container","Action":"start"}{"Type":"network","Action":"connect"}`
	next(2)
	events <- ""
	lost("the engine has ended")
	stop()
	list.Store(of(0))
	serve(t, path, engineOf())
	next(0)
	cancel()
	<-done
	select {
	case err := <-losses:
		t.Errorf("told again: %v", err)
	default:
	}
	if c := (&engine.Container{ID: "0123456789abcdef"}); c.Name() != "0123456789ab" {
		t.Error(c.Name())
	}
}
