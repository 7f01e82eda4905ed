// Package cli is what the command lines of both programs share: the root
// command, the log, errors with hints, and exit codes.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"keystay/internal/hint"
	"keystay/internal/plain"
)

// The exit codes of both programs.
const (
	ExitFailed   = 1 // failed while running
	ExitUsage    = 2 // wrong usage or configuration
	ExitRefused  = 3 // every claim refused for good
	ExitForeign  = 4 // a public name shows a key that is another one's
	ExitReplaced = 5 // replaced by a newer run of the same identity
)

// An Error is an error with the exit code of its program. Its hints are those
// of Err, see package hint.
type Error struct {
	Code int // the exit code
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error alone.
func (e *Error) Unwrap() error { return e.Err }

// Usage marks err as one of usage or configuration.
func Usage(err error) error { return &Error{Code: ExitUsage, Err: err} }

// WriteJSON writes v to w as indented JSON: what --json prints. A character that does
// not print, which a terminal might act on, is escaped.
func WriteJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return err
	}
	var out []byte
	for _, r := range b.String() {
		if r == '\n' || unicode.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) { // RFC 8259, section 7
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	_, err := w.Write(out)
	return err
}

// Root makes cmd a root command: with version, completion and man.
func Root(cmd *cobra.Command) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Version = Version()
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(flagError)
	cmd.AddCommand(versionCommand(cmd.Name()), &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the man pages into a folder",
		Example: "  " + cmd.Name() + " man /usr/local/share/man/man1",
		Args:    oneArg,
		Hidden:  true,
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return hint.ManFolder.Error(err)
			}
			cmd.DisableAutoGenTag = true
			for _, c := range cmd.Commands() {
				if c.Name() == "completion" { // its help for each shell is no page
					c.Hidden = true
				}
			}
			return hint.ManFolder.Error(doc.GenManTree(cmd, &doc.GenManHeader{Section: "1", Source: "keystay", Manual: "keystay"}, filepath.Clean(args[0])))
		},
	})
	completion(cmd)
	help(cmd)
	return cmd
}

// Main runs the command and returns the program's exit code. What libraries print
// by themselves goes nowhere: it repeats what a service or a visitor has sent.
func Main(cmd *cobra.Command) int {
	log.SetOutput(io.Discard)
	err := cmd.Execute()
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) { // by Signals
		err = errors.New("interrupted")
	}
	Print(cmd.ErrOrStderr(), cmd.Name(), err)
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ExitFailed
}

// Print writes an error for people: what failed, then a line for each hint. What
// others have said in it is made safe to show. On a terminal the lines are wrapped
// to its width.
func Print(w io.Writer, program string, err error) {
	lines := strings.Split(program+": "+strings.TrimSpace(err.Error()), "\n")
	for _, h := range hint.All(err) {
		lines = append(lines, "hint: "+h)
	}
	width := Width(w)
	var b strings.Builder
	for _, line := range lines {
		if width > 0 {
			Wrap(&b, width, "", "  ", line)
		} else {
			b.WriteString(plain.Text(line) + "\n")
		}
	}
	_, _ = io.WriteString(w, b.String())
}

// Logger makes the program's log on w: level is debug, info, warn or error,
// format text or json.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: debug, info, warn or error", level)
	}
	return LoggerAt(w, l, format), nil
}

// LoggerAt is Logger with a level that may change.
func LoggerAt(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
