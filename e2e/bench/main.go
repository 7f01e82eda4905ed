//go:build linux

// Bench measures keystay against what it is compared with, in one run and in
// turn: a visitor straight to the server, HAProxy and tcpproxy as proxies
// without a tunnel, and keystay. It is no test: it prints figures and judges
// none. See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"keystay/e2e/bench/internal/result"
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "role" {
		err = runRole(os.Args[2:])
	} else {
		err = command(os.Args[1:], os.Stdout, os.Stderr)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command is the program as people see it: tables to stdout, progress to
// stderr.
func command(args []string, stdout, stderr io.Writer) (err error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	size := f.String("size", "full", "how much to measure: full, quick or tiny")
	bin := f.String("bin", "bin", "folder of the relay's program")
	peers := f.String("peers", "", "`FOLDER` with the programs of other tunnels: "+tunnelPrograms())
	out := f.String("out", "", "`FILE` to add the measurements to, as lines of JSON")
	from := f.String("from", "", "measure nothing: take the measurements of an earlier -out `FILE`")
	markdown := f.Bool("markdown", false, "print the tables as Markdown")
	svg := f.String("svg", "", "`FILE` to draw a picture in")
	doc := f.String("doc", "", "Markdown `FILE` in which to replace the tables, between two lines that say so")
	rounds := f.Int("rounds", 0, "rounds, if not the size's own")
	tests := f.String("tests", strings.Join(allTests(), ","), "what to measure")
	subjects := f.String("subjects", "", "of whom: some of "+strings.Join(allSubjects(), ",")+"; all, but haproxy-pipes only when the size is full")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("what is %q?", f.Arg(0))
	}
	b := &bench{bin: *bin, peers: *peers, progress: stderr, began: time.Now()}
	if b.tests, err = chosen(*tests, allTests()); err != nil {
		return err
	}
	if *subjects == "" {
		b.subjects = slices.DeleteFunc(allSubjects(), func(s string) bool { return s == haproxyPipes && *size != "full" })
	} else if b.subjects, err = chosen(*subjects, allSubjects()); err != nil {
		return err
	}
	if *from != "" {
		b.all, err = result.Load(*from)
	} else {
		err = b.command(*size, *rounds, *out)
	}
	if err != nil {
		return err
	}
	result.Print(stdout, b.all, append(b.skipped, b.used...), *markdown)
	if *svg != "" {
		err = result.Draw(*svg, b.all)
	}
	if *doc != "" && err == nil {
		err = result.Insert(*doc, b.all)
	}
	return err
}

// chosen splits a list of words and checks them.
func chosen(list string, known []string) ([]string, error) {
	words := strings.Split(list, ",")
	for _, w := range words {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%q is none of %s", w, strings.Join(known, ", "))
		}
	}
	return words, nil
}

// command measures, until it is done or a signal comes.
func (b *bench) command(size string, rounds int, out string) (err error) {
	switch size {
	case "full":
		b.plan = full()
	case "quick":
		b.plan = quick()
	case "tiny":
		b.plan = tiny()
	default:
		return fmt.Errorf("no size is called %q", size)
	}
	if rounds > 0 {
		b.plan.rounds, b.plan.wanRounds = rounds, rounds
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if out != "" {
		f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			return err
		}
		defer f.Close()
		b.out = f
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the program as ever
	b.ctx = ctx
	return b.run()
}
