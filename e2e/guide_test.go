package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/e2e/internal/world"
)

// A block is a fenced block of a guide that is marked behind its language: with
// run=NAME, commands of the shell that a story runs; with file=NAME, a file that it
// writes; with out=NAME, what the commands show that were run before it.
type block struct {
	kind, name, text string
}

var fenced = regexp.MustCompile("(?ms)^( *)```\\w+ (run|file|out)=([\\w.-]+)\n(.*?)^ *```$")

// blocks returns the marked blocks of a guide, in their order.
func blocks(guide string) (list []block) {
	for _, m := range fenced.FindAllStringSubmatch(guide, -1) {
		text := strings.TrimPrefix(strings.ReplaceAll("\n"+m[4], "\n"+m[1], "\n"), "\n")
		list = append(list, block{m[2], m[3], text})
	}
	return list
}

// A guide is one that a story follows.
type guide struct {
	blocks []block
}

// guideCommand is the command
//
//	guide open FILE [OLD=>NEW...]
//
// which takes a guide of docs up, in whose marked blocks NEW is in the place of OLD, as
// in the place of port 53, and then
//
//	[!] guide run NAME
//	guide start PROGRAM NAME
//	guide write NAME [FILE]
//	guide shows NAME [STREAM]
//
// which run the block's commands, start its one command in the background, write it to
// the file NAME, or look whether what was run last, or a program's stream, has shown it. What a block of output
// has as … may be anything.
func guideCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg && args[0] != "run" {
		ts.Fatalf("usage: guide open|run|start|write|shows …")
	}
	w := settingOf(ts)
	if args[0] == "open" {
		ts.Check(w.openGuide(args[1], args[2:]))
		ts.Setenv("PATH", ts.Getenv("PATH")+":/usr/sbin") // where servers are, for others than root too
		return
	}
	kind := map[string]string{"run": "run", "start": "run", "write": "file", "shows": "out"}[args[0]]
	name := args[1]
	if args[0] == "start" && len(args) == 3 {
		name = args[2]
	}
	i := slices.IndexFunc(w.guide.blocks, func(b block) bool { return b.kind == kind && b.name == name })
	if i < 0 {
		ts.Fatalf("the guide has no block %s=%s", kind, name)
	}
	text := w.guide.blocks[i].text
	switch args[0] {
	case "run":
		if err := ts.Exec("sh", "-euc", text); (err == nil) == neg {
			ts.Fatalf("sh: %v\n%s%s", err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	case "start":
		w.startLine(ts, args[1], text)
	case "write":
		file := ts.MkAbs(args[len(args)-1])
		ts.Check(os.MkdirAll(filepath.Dir(file), 0o755))
		ts.Check(os.WriteFile(file, []byte(text), 0o644))
	case "shows":
		got := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		if len(args) == 3 {
			got = w.stream(ts, args[2]).String()
		}
		if line, ok := inOrder(text, got); !ok {
			ts.Fatalf("the guide shows what is not there: %s\nthere is:\n%s", line, got)
		}
	}
}

// openGuide reads a guide for a story.
func (w *setting) openGuide(file string, changes []string) error {
	text, err := os.ReadFile(filepath.Join("../docs", file))
	if err != nil {
		return err
	}
	w.guide.blocks = blocks(string(text))
	for _, c := range changes {
		from, to, _ := strings.Cut(c, "=>")
		used := false
		for i, b := range w.guide.blocks {
			w.guide.blocks[i].text = strings.ReplaceAll(b.text, from, to)
			used = used || strings.Contains(b.text, from)
		}
		if !used {
			return fmt.Errorf("%s has no block with %q", file, from)
		}
	}
	return nil
}

// startLine starts a block of one command in the background.
func (w *setting) startLine(ts *testscript.TestScript, name, line string) {
	cmd := exec.Command("sh", "-c", "exec "+line)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	p, err := world.Launch(cmd)
	ts.Check(err)
	w.programs[name] = p
	w.streams[name], w.streams[name+".out"] = &p.Log, &p.Out
}

// inOrder reports whether all lines of want are lines of got, in their order, and else
// which is not.
func inOrder(want, got string) (missing string, ok bool) {
	lines := strings.Split(got, "\n")
	for line := range strings.Lines(want) {
		line = strings.TrimRight(line, "\n")
		parts := strings.Split(line, "…")
		for i, p := range parts {
			parts[i] = regexp.QuoteMeta(p)
		}
		re := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		i := slices.IndexFunc(lines, re.MatchString)
		if i < 0 {
			return line, false
		}
		if line != "…" {
			lines = lines[i+1:]
		}
	}
	return "", true
}

var (
	opened   = regexp.MustCompile(`^guide open (\S+)`)
	followed = regexp.MustCompile(`^!? ?guide (?:run|write|shows|start \S+) (\S+)`)
)

func TestStoriesFollowEveryMarkedBlockOfTheGuides(t *testing.T) {
	t.Parallel()
	done := make(map[string]bool) // guide and block
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range stories {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		guide := ""
		for line := range strings.Lines(string(text)) {
			line = strings.TrimPrefix(line, "[soak] ")
			if m := opened.FindStringSubmatch(line); m != nil {
				guide = m[1]
			}
			if m := followed.FindStringSubmatch(line); m != nil {
				done[guide+" "+m[1]] = true
			}
		}
	}
	marked := 0
	pages, err := filepath.Glob("../docs/guides/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range pages {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		guide := "guides/" + filepath.Base(file)
		seen := make(map[block]bool)
		for _, b := range blocks(string(text)) {
			marked++
			b.text = ""
			if seen[b] {
				t.Errorf("%s has two blocks %s=%s", guide, b.kind, b.name)
			}
			seen[b] = true
			if !done[guide+" "+b.name] {
				t.Errorf("no story follows %s=%s of %s", b.kind, b.name, guide)
			}
		}
	}
	if marked == 0 {
		t.Error("no guide has a marked block")
	}
}
