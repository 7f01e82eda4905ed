package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
)

// useDNS makes the whole program ask the DNS server at an address, ip:port. An
// empty one leaves it to the system.
func useDNS(address string) {
	if address != "" {
		net.DefaultResolver = resolver(address)
	}
}

// resolver asks the DNS server at an address, ip:port.
func resolver(address string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true, // the system's own does not know the address
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
}

// asked returns err with the DNS server that was asked in its text, where useDNS has set
// one: package net names the system's whatever its resolver dials. Of nil it returns nil.
func asked(err error, server string) error {
	if err == nil || server == "" {
		return err
	}
	text := err.Error()
	for _, wrong := range dnsErrors(err) {
		if wrong.Server != "" {
			right := *wrong
			right.Server = server + " (--dns)"
			text = strings.ReplaceAll(text, wrong.Error(), right.Error())
		}
	}
	if text == err.Error() {
		return err
	}
	return &askedError{err, text}
}

// dnsErrors returns the errors of look-ups that err wraps.
func dnsErrors(err error) (all []*net.DNSError) {
	switch e := err.(type) {
	case *net.DNSError:
		return []*net.DNSError{e}
	case interface{ Unwrap() error }:
		return dnsErrors(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			all = append(all, dnsErrors(one)...)
		}
	}
	return all
}

// An askedError is an error with another text.
type askedError struct {
	err  error
	text string
}

func (e *askedError) Error() string { return e.text }

// Unwrap returns the error.
func (e *askedError) Unwrap() error { return e.err }

// askedLog returns a log whose errors are as asked has them.
func askedLog(log *slog.Logger, server string) *slog.Logger {
	if server == "" {
		return log
	}
	return slog.New(&askedHandler{log.Handler(), server})
}

// An askedHandler is the handler of such a log.
type askedHandler struct {
	slog.Handler
	server string
}

// Handle implements [slog.Handler].
func (h *askedHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.right(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// WithAttrs implements [slog.Handler].
func (h *askedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	right := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		right[i] = h.right(a)
	}
	return &askedHandler{h.Handler.WithAttrs(right), h.server}
}

// WithGroup implements [slog.Handler].
func (h *askedHandler) WithGroup(name string) slog.Handler {
	return &askedHandler{h.Handler.WithGroup(name), h.server}
}

func (h *askedHandler) right(a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		return slog.Any(a.Key, asked(err, h.server))
	}
	return a
}
