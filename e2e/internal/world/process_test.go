package world

import (
	"bytes"
	"log/slog"
	"testing"

	"keystay/internal/panics"
)

// A mistake that a program has survived fails the test that it ran in, too.
func TestCaughtPanicIsBroken(t *testing.T) {
	for format, logger := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var out bytes.Buffer
		p := &Process{}
		slog.New(logger(&out)).Info("listening")
		p.Log.Write(out.Bytes())
		if where := p.Broken(); where != "" {
			t.Errorf("%s: %q is broken", format, where)
		}
		caught := &panics.Log{Logger: slog.New(logger(&out))}
		func() {
			defer caught.Catch("a test", func() {})
			panic(1)
		}()
		p.Log.Write(out.Bytes())
		if p.Broken() == "" {
			t.Errorf("%s: a mistake that was caught is not broken", format)
		}
	}
}
