// Package engine asks a container engine, Docker or Podman, which containers run, and
// follows their starts and stops. It speaks the engine's HTTP API over a unix socket: of
// that a list and the events, which have been there since 1.22.
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultSocket is where Docker listens.
const DefaultSocket = "/var/run/docker.sock"

const (
	// askTimeout is how long the engine may take for a list, and to begin with events.
	askTimeout = 30 * time.Second
	// maxAnswer is how long a list may be, in bytes: some thousand containers.
	maxAnswer = 32 << 20
	// firstRetry and lastRetry are how long it takes until the engine is asked again that
	// did not answer: each time twice as long.
	firstRetry, lastRetry = 250 * time.Millisecond, 30 * time.Second
	// settle is how long it takes until the engine is asked after an event: a container
	// that starts anew comes with several.
	settle = 200 * time.Millisecond
)

// An Engine is a container engine. The zero value is not ready: see [New].
type Engine struct {
	http   *http.Client
	socket string
}

// New returns the engine that listens on a unix socket. It dials nothing.
func New(socket string) *Engine {
	return &Engine{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// A Container is one that runs, as the engine's list has it.
type Container struct {
	ID         string            `json:"Id"`
	Names      []string          // each with a slash in front
	Labels     map[string]string // of the container and of its image
	State      string            // "running", or "paused"
	Created    int64             // when it was made, in seconds since 1970
	Ports      []Port
	HostConfig struct{ NetworkMode string } // "host" is that of the machine
	// NetworkSettings are the container's addresses by the names of its networks.
	NetworkSettings struct{ Networks map[string]Network }
}

// A Port is one that a container says it listens on.
type Port struct {
	IP          string // of the machine, where the port is published
	PrivatePort int    // the container's
	PublicPort  int    // the machine's, or 0
	Type        string // "tcp", "udp" or "sctp"
}

// A Network is a network that a container is in.
type Network struct {
	IPAddress         string
	GlobalIPv6Address string
}

// Name is what people call the container.
func (c *Container) Name() string {
	if len(c.Names) == 0 {
		return c.ID[:min(12, len(c.ID))]
	}
	return strings.TrimPrefix(c.Names[0], "/")
}

// List returns the containers that run.
func (e *Engine) List(ctx context.Context) (list []Container, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := e.ask(ctx, "containers/json", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("the list of containers: %w", err)
	}
	return list, nil
}

// ask sends a request to the engine and returns the answer's body, which the caller closes.
func (e *Engine) ask(ctx context.Context, what string, query url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "engine", Path: "/" + what, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	res, err := e.http.Do(req)
	if err != nil {
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err // without the address, which is made up
		}
		return nil, fmt.Errorf("the engine at %s: %w", e.socket, err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var told struct{ Message string }
	_ = json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&told) // else it says nothing
	return nil, fmt.Errorf("the engine at %s answers %s: %.200q", e.socket, res.Status, told.Message)
}

// followed are the events after which a list is another one.
const followed = `{"type":{"container":true,"network":true},` +
	`"event":{"start":true,"restart":true,"die":true,"destroy":true,"rename":true,"pause":true,"unpause":true,"connect":true,"disconnect":true}}`

// Follow calls changed with the containers that run: first, and again when one starts or
// stops, one call after the other. While the engine does not answer, lost is called once
// with why, changed is not called, and the engine is asked again, more and more seldom.
// Follow returns when ctx ends.
func (e *Engine) Follow(ctx context.Context, changed func([]Container), lost func(error)) {
	wait, told := firstRetry, false
	for {
		err := e.follow(ctx, func(list []Container) {
			wait, told = firstRetry, false
			changed(list)
		})
		if ctx.Err() != nil {
			return
		}
		if !told {
			told = true
			lost(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// follow is Follow until the engine has gone. It returns why.
func (e *Engine) follow(ctx context.Context, changed func([]Container)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begins := time.AfterFunc(askTimeout, cancel)
	body, err := e.ask(ctx, "events", url.Values{"filters": {followed}}) // before the list, so that nothing is missed
	begins.Stop()
	if err != nil {
		return err
	}
	defer body.Close()
	events, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- readEvents(body, events) }()
	defer func() {
		cancel()
		<-ended
	}()
	for {
		list, err := e.List(ctx)
		if err != nil {
			return err
		}
		changed(list)
		select {
		case <-events:
		case err := <-ended:
			ended <- err
			return err
		}
		select { // what comes along is in the next list
		case <-time.After(settle):
		case <-ctx.Done():
		}
	}
}

// readEvents tells of events, several as one, until there are no more, and returns why.
func readEvents(r io.Reader, events chan<- struct{}) error {
	for d := json.NewDecoder(r); ; {
		var event json.RawMessage
		if err := d.Decode(&event); err != nil {
			return fmt.Errorf("the engine has ended: %w", err)
		}
		select {
		case events <- struct{}{}:
		default:
		}
	}
}
