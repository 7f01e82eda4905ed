package acme

import (
	"context"
	"log/slog"
)

// demote passes records on at debug. The ACME client's steps are detail to us,
// and its errors come back as errors, which are told in one line where they end.
type demote struct{ h slog.Handler }

// Enabled implements [slog.Handler].
func (d demote) Enabled(ctx context.Context, _ slog.Level) bool {
	return d.h.Enabled(ctx, slog.LevelDebug)
}

// Handle implements [slog.Handler].
func (d demote) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return d.h.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (d demote) WithAttrs(attrs []slog.Attr) slog.Handler { return demote{d.h.WithAttrs(attrs)} }

// WithGroup implements [slog.Handler].
func (d demote) WithGroup(name string) slog.Handler { return demote{d.h.WithGroup(name)} }
