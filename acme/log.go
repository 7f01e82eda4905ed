package acme

import (
	"context"
	"log/slog"
)

// demote passes records on one level lower. The ACME client's steps are detail
// to us, and its errors come back as errors, which are logged where they end.
type demote struct{ h slog.Handler }

// lower is the level that demote gives to a record of level l.
func lower(l slog.Level) slog.Level { return l - (slog.LevelInfo - slog.LevelDebug) }

// Enabled implements [slog.Handler].
func (d demote) Enabled(ctx context.Context, l slog.Level) bool { return d.h.Enabled(ctx, lower(l)) }

// Handle implements [slog.Handler].
func (d demote) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lower(r.Level)
	return d.h.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (d demote) WithAttrs(attrs []slog.Attr) slog.Handler { return demote{d.h.WithAttrs(attrs)} }

// WithGroup implements [slog.Handler].
func (d demote) WithGroup(name string) slog.Handler { return demote{d.h.WithGroup(name)} }
