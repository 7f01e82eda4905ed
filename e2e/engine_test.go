package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	docker "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/rogpeppe/go-internal/testscript"

	"keystay/internal/engine"
)

// A containerEngine answers as Docker does, in the types of its own client library, whose
// client has to understand it: there is no engine here.
type containerEngine struct {
	server *httptest.Server // nil while it is stopped

	mu        sync.Mutex
	list      []docker.Summary
	listeners map[chan events.Message]bool
}

// engineCommand is "engine start|stop|run NAME LABEL=VALUE…|rm NAME" of stories. A container
// publishes port 80 as the site's.
func engineCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: engine start|stop|run NAME LABEL=VALUE…|rm NAME")
	}
	w := settingOf(ts)
	e, socket := &w.engine, ts.MkAbs("engine.sock")
	switch {
	case args[0] == "start":
		ln, err := net.Listen("unix", socket)
		ts.Check(err)
		e.start(ln)
	case args[0] == "stop":
		e.stop()
	case args[0] == "run" && len(args) > 1:
		e.run(args[1], args[2:], netip.MustParseAddrPort(w.site.addr))
		ts.Check(e.isUnderstood(socket))
	case args[0] == "rm" && len(args) == 2:
		e.remove(args[1])
	default:
		ts.Fatalf("the engine cannot %q", args)
	}
}

func (e *containerEngine) start(ln net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", client.MaxAPIVersion) })
	mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		_ = json.NewEncoder(w).Encode(e.list)
	})
	mux.HandleFunc("GET /events", e.events)
	e.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if version, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1."), "/"); ok && !strings.Contains(version, "/") && strings.HasPrefix(r.URL.Path, "/v1.") {
			r.URL.Path = "/" + rest
		}
		mux.ServeHTTP(w, r)
	}))
	_ = e.server.Listener.Close()
	e.server.Listener = ln
	e.server.Start()
}

// events sends what happens to whoever listens, if the filter is one of the library's.
func (e *containerEngine) events(w http.ResponseWriter, r *http.Request) {
	var filters client.Filters
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &filters); err != nil || !filters["type"]["container"] || !filters["event"]["start"] || !filters["event"]["die"] {
		http.Error(w, `{"message":"invalid filter"}`, http.StatusBadRequest)
		return
	}
	c := make(chan events.Message, 100)
	e.mu.Lock()
	if e.listeners == nil {
		e.listeners = make(map[chan events.Message]bool)
	}
	e.listeners[c] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.listeners, c)
	}()
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case m := <-c:
			_ = json.NewEncoder(w).Encode(m)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// stop ends the engine; its containers go on.
func (e *containerEngine) stop() {
	if e.server != nil {
		e.server.CloseClientConnections()
		e.server.Close()
		e.server = nil
	}
}

func (e *containerEngine) run(name string, labels []string, site netip.AddrPort) {
	one := docker.Summary{ID: fmt.Sprintf("%064x", time.Now().UnixNano()), Names: []string{"/" + name}, Image: "site", State: "running",
		Created: time.Now().Unix(), Labels: make(map[string]string),
		Ports: []docker.PortSummary{{IP: site.Addr(), PrivatePort: 80, PublicPort: site.Port(), Type: "tcp"}}}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		one.Labels[key] = value
	}
	e.change(events.ActionStart, func() { e.list = append(e.list, one) })
}

func (e *containerEngine) remove(name string) {
	e.change(events.ActionDie, func() {
		e.list = slices.DeleteFunc(e.list, func(c docker.Summary) bool { return c.Names[0] == "/"+name })
	})
}

// change changes the list and tells of it.
func (e *containerEngine) change(action events.Action, how func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	how()
	for c := range e.listeners {
		c <- events.Message{Type: events.ContainerEventType, Action: action, TimeNano: time.Now().UnixNano()}
	}
}

// isUnderstood compares what the library's own client and ours read.
func (e *containerEngine) isUnderstood(socket string) error {
	c, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	theirs, err := c.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return err
	}
	ours, err := engine.New(socket).List(ctx)
	if err != nil {
		return err
	}
	if len(theirs.Items) != len(ours) {
		return fmt.Errorf("the library reads %d containers, we %d", len(theirs.Items), len(ours))
	}
	for i, one := range theirs.Items {
		is := ours[i]
		port := engine.Port{IP: one.Ports[0].IP.String(), PrivatePort: int(one.Ports[0].PrivatePort), PublicPort: int(one.Ports[0].PublicPort), Type: one.Ports[0].Type}
		if is.ID != one.ID || !slices.Equal(is.Names, one.Names) || !reflect.DeepEqual(is.Labels, one.Labels) || is.State != string(one.State) || is.Created != one.Created || is.Ports[0] != port {
			return fmt.Errorf("the library reads %+v, we %+v", one, is)
		}
	}
	return nil
}
