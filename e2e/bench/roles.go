//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/inetaf/tcpproxy"

	"keystay/e2e/bench/internal/site"
	"keystay/e2e/internal/link"
	"keystay/relay/cluster"
	"keystay/remote"
)

// A role is what this program is when it has started itself again. One is run
// as: bench role NAME JSON. It ends with its input.
type role struct {
	certificate
	Listen string // the address that server, web and tcpproxy listen on
	Origin string // the server that tcpproxy leads to
	Relay  string // the address of the relay, for device and crowd
	Dir    string // a state directory, for device
	Lanes  string // "auto" or "off", for device
	First  int    // the number of the first link, for crowd
	Count  int    // of links, for crowd

	Node      string            // for node
	Nodes     map[string]string // addresses for other nodes, by their names
	NodeFiles cluster.Files     // its certificate

	Links []link.Setup // whose devices the role link has from descriptor 3 on
}

// runRole runs the role and returns its error.
func runRole(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: role NAME JSON")
	}
	var r role
	if err := json.Unmarshal([]byte(args[1]), &r); err != nil {
		return err
	}
	ended := make(chan struct{})
	run := map[string]func(<-chan struct{}) error{
		"server": r.server, "tcpproxy": r.tcpproxy, "device": r.device, "crowd": r.crowd,
		"link": r.link, "web": r.web, "node": r.node,
	}[args[0]]
	if run == nil {
		return fmt.Errorf("no role is called %s", args[0])
	}
	if args[0] != "link" { // which reads its input itself
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			close(ended)
		}()
	}
	return run(ended)
}

// readyWord begins the line by which a role says that it is ready.
const readyWord = "ready "

func ready(address string) { fmt.Println(readyWord + address) }

// server is the TLS server of the direct way and of the two references.
func (r *role) server(ended <-chan struct{}) error {
	config, err := r.tls()
	if err != nil {
		return err
	}
	ln, err := tls.Listen("tcp", r.Listen, config)
	if err != nil {
		return err
	}
	go site.Serve(ln)
	ready(ln.Addr().String())
	<-ended
	return nil
}

// web is the HTTP service at home.
func (r *role) web(ended <-chan struct{}) error {
	ln, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(site.Web), ReadHeaderTimeout: time.Minute}
	go srv.Serve(ln)
	ready(ln.Addr().String())
	<-ended
	return nil
}

func (r *role) tcpproxy(ended <-chan struct{}) error {
	ln, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return err
	}
	p := &tcpproxy.Proxy{ListenFunc: func(string, string) (net.Listener, error) { return ln, nil }}
	p.AddSNIRoute(r.Listen, name, &tcpproxy.DialProxy{Addr: r.Origin})
	if err := p.Start(); err != nil {
		return err
	}
	ready(ln.Addr().String())
	<-ended
	return nil
}

// maxVisitors is how many visitors the device takes at once: more than idle_visitor and
// scale have, and more than by default.
const maxVisitors = 10_000

// device is the remote: the library's listener with the same site behind it.
func (r *role) device(ended <-chan struct{}) error {
	config, err := r.tls()
	if err != nil {
		return err
	}
	roots, err := r.pool()
	if err != nil {
		return err
	}
	c := remote.Config{
		Domain: name, Relays: []string{zone}, RelayAddresses: []string{r.Relay}, RelayRoots: roots,
		Proxy:    func(*http.Request) (*url.URL, error) { return nil, nil },
		StateDir: r.Dir, TLS: config, NoLanes: r.Lanes == "off", MaxVisitors: maxVisitors,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	ln, err := remote.Listen(c)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- site.Serve(ln) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := ln.Wait(ctx); err != nil {
		return err
	}
	ready(r.Relay)
	select {
	case err := <-served:
		return err
	case <-ended:
		cancel()
		return ln.Shutdown(ctx)
	}
}

// link carries the packets of a wan.
func (r *role) link(<-chan struct{}) error {
	devices := make([]int, 2*len(r.Links))
	for i := range devices {
		devices[i] = 3 + i
	}
	ready("")
	return link.Run(r.Links, devices, os.Stdin)
}
