package screen

import (
	"flag"
	"fmt"
	"image"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	qr "github.com/piglig/go-qr"
	"go.uber.org/goleak"
)

// lateGuard is the argument that makes this program a guard that is ready too late, and
// then gives the terminal back.
const lateGuard = "late-guard"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == lateGuard {
		io.Copy(io.Discard, os.Stdin)
		os.NewFile(3, "terminal").WriteString("given back")
		return
	}
	goleak.VerifyTestMain(m)
}

var update = flag.Bool("update", false, "write the snapshots anew")

var noon = time.Date(2026, 11, 29, 12, 3, 4, 0, time.Local)

// served is a remote with one name that visitors get to.
func served() Figures {
	f := Figures{
		Now: noon.Add(10 * time.Second),
		Names: []Name{{URL: "https://xyz.relay.net", Target: "http://127.0.0.1:3000", Up: true, Visitors: 3, Rows: []Row{
			{"Key", "on this device only; the relay passes encrypted bytes on", Good},
			{"From outside", "nobody between: this device's own key at 192.0.2.1:443 (3 min ago)", Good},
			{"Certificate", "until 26 Feb 2027, renewed from 27 Jan 2027 on, from Let's Encrypt", Plain},
			{"Relay", "relay.net, round trip 12.3 ms, 2 links, for 3 h", Plain},
			{"Visitors", "3 now", Plain},
			{"Transparency", "no key that is not this device's (12 min ago)", Good},
		}}},
		Traffic: Traffic{HTTP: true, Total: 1234},
		Messages: []Message{
			{Time: noon.Add(-time.Hour), Text: "There is a certificate for xyz.relay.net, valid until 26 February 2027, 10:00."},
			{Time: noon, Text: "The local service http://127.0.0.1:3000 does not answer: connection refused.", Mood: Doubtful,
				Hints: []string{"start the service, or say where it is with --local"}},
		},
	}
	for i := range 120 {
		f.Traffic.Seconds = append(f.Traffic.Seconds, i*7%13*(i%3)/2)
	}
	for i, r := range []Request{
		{Method: "GET", Path: "/", Status: 200, Took: 12 * time.Millisecond, Ended: true},
		{Method: "GET", Path: "/style.css", Status: 304, Took: 3 * time.Millisecond, Ended: true},
		{Method: "POST", Path: "/api/notes", Status: 502, Took: 2100 * time.Millisecond, Ended: true},
		{Method: "GET", Path: "/a/path/that/is/longer/than/any/window/is/wide/so/that/it/has/to/be/cut/somewhere", Status: 404, Took: time.Millisecond, Ended: true},
		{Method: "GET", Path: "/large.iso", Status: 200, Took: 95 * time.Second, Ended: true, Cut: true},
		{Method: "WS", Path: "/live", Status: 101},
		{Method: "GET", Path: "/slow"},
	} {
		r.Began, r.Name = noon.Add(time.Duration(i)*time.Second), "xyz.relay.net"
		f.Traffic.Requests = append(f.Traffic.Requests, r)
	}
	return f
}

// several are a remote with that many names, of which the second is not up.
func several(n int) Figures {
	f := served()
	first := f.Names[0]
	f.Names = nil
	for i := range n {
		next := first
		next.URL, next.Target = fmt.Sprintf("https://n%03d.relay.net", i), fmt.Sprintf("http://127.0.0.1:%d", 3000+i)
		next.Visitors = i % 4
		if i == 1 {
			next.Up, next.Visitors = false, 0
			next.Rows = append([]Row{{"State", "not up: the relay does not give this name yet", Doubtful}}, first.Rows...)
		}
		f.Names = append(f.Names, next)
	}
	return f
}

// shown is a screen of that size with some figures, after some keys.
func shown(t testing.TB, columns, lines int, f Figures, keys ...string) model {
	t.Helper()
	m := newModel(&Config{Stop: func() {}})
	m.open = func(string) error { return errNoDesktop }
	for _, message := range []tea.Msg{tea.WindowSizeMsg{Width: columns, Height: lines}, f} {
		next, _ := m.Update(message)
		m = next.(model)
	}
	for _, k := range keys {
		next, _ := m.key(k)
		m = next.(model)
	}
	return m
}

// Each snapshot fits its window, and is as it was when somebody last looked at it.
func TestSnapshots(t *testing.T) {
	alarmed := served()
	alarmed.Alarms = []string{"INTERCEPTED: xyz.relay.net: a foreign key at 192.0.2.1:443 (1 min ago). Its certificate is in /home/me/.local/state/keystay/evidence/xyz.relay.net-20261129.pem"}
	alarmed.Names[0].Rows[1] = Row{"From outside", "INTERCEPTED: a foreign key at 192.0.2.1:443 (1 min ago)", Bad}
	begun := Figures{Now: noon, Names: []Name{{URL: "https://abcdefghijklmnopqrstuvwxyz234567.relay.net", Target: "http://127.0.0.1:3000", Rows: []Row{
		{"State", "not up: no certificate yet", Doubtful}, {"Key", "on this device only; the relay passes encrypted bytes on", Good}}}},
		Traffic: Traffic{HTTP: true}, Messages: []Message{{Time: noon, Text: "Connected to the relay relay.net."}, {Time: noon, Text: "Asking Let's Encrypt for a certificate for abcdefghijklmnopqrstuvwxyz234567.relay.net…"}}}
	stopping := served()
	stopping.State = "Stopping. Visitors who are still there: 3. They have until 12:03:34."
	for name, m := range map[string]struct {
		figures Figures
		keys    []string
	}{
		"served":   {served(), nil},
		"alarmed":  {alarmed, nil},
		"begun":    {begun, nil},
		"nothing":  {Figures{}, nil},
		"stopping": {stopping, []string{"q"}},
		"three":    {several(3), []string{"down"}},
		"many":     {several(500), []string{"end", "up", "up"}},
		"help":     {several(3), []string{"?"}},
		"code":     {served(), []string{"r"}},
		"messages": {served(), []string{"w"}},
		"copied":   {served(), []string{"c"}},
	} {
		for _, size := range [][2]int{{80, 24}, {40, 24}, {80, 10}, {40, 10}, {132, 50}} {
			t.Run(fmt.Sprintf("%s %dx%d", name, size[0], size[1]), func(t *testing.T) {
				lines := shown(t, size[0], size[1], m.figures, m.keys...).lines()
				fits(t, lines, size[0], size[1])
				compare(t, fmt.Sprintf("%s-%dx%d.txt", name, size[0], size[1]), lines)
			})
		}
	}
}

// fits fails where lines are more or longer than those of a window.
func fits(t *testing.T, lines []string, columns, most int) {
	t.Helper()
	if len(lines) > most {
		t.Errorf("%d lines of %d", len(lines), most)
	}
	for _, l := range lines {
		if n := ansi.StringWidth(l); n > columns {
			t.Errorf("%d columns of %d: %q", n, columns, l)
		}
	}
}

// compare compares lines, without colours, with a snapshot.
func compare(t *testing.T, file string, lines []string) {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimRight(ansi.Strip(l), " ") + "\n")
	}
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is\n%s\nand was\n%s", file, b.String(), want)
	}
}

// A camera reads the address in the QR code, painted or not.
func TestQRCodeIsRead(t *testing.T) {
	const url = "https://abcdefghijklmnopqrstuvwxyz234567.relay.net:8443"
	rows, err := code(url)
	if err != nil {
		t.Fatal(err)
	}
	const size = 6 // pixels of a module
	picture := image.NewGray(image.Rect(0, 0, size*ansi.StringWidth(rows[0]), 2*size*len(rows)))
	for y := range picture.Rect.Dy() {
		for x := range picture.Rect.Dx() {
			c := []rune(rows[y/(2*size)])[x/size]
			if c == '█' || c == '▀' && y/size%2 == 0 || c == '▄' && y/size%2 == 1 {
				picture.SetGray(x, y, color.Gray{Y: 255})
			}
		}
	}
	if got, err := qr.Decode(picture); got != url || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	swapped := strings.NewReplacer("▀", "▄", "▄", "▀", "█", " ")
	for _, row := range rows {
		if got := ansi.Strip(painted(row)); got != swapped.Replace(row) {
			t.Errorf("%q is painted as %q", row, got)
		}
	}
}

// Keys do what the page of keys says of them, for the name that is selected.
func TestKeys(t *testing.T) {
	stops, opened := 0, ""
	m := shown(t, 80, 24, several(3))
	m.config.Stop = func() { stops++ }
	m.open = func(url string) error { opened = url; return nil }
	press := func(keys ...string) (last tea.Cmd) {
		for _, k := range keys {
			next, cmd := m.key(k)
			m, last = next.(model), cmd
		}
		return last
	}
	if press("down", "o"); opened != "https://n001.relay.net" {
		t.Errorf("o opens %q", opened)
	}
	if press("i"); opened != "https://n001.relay.net" || !strings.Contains(m.note, "--inspect") {
		t.Errorf("i opens %q, and says %q", opened, m.note)
	}
	m.config.Inspector = "http://127.0.0.1:1/token/"
	if press("end", "i"); opened != m.config.Inspector || m.selected != "https://n002.relay.net" {
		t.Errorf("i opens %q", opened)
	}
	if press("c"); !strings.Contains(m.note, "https://n002.relay.net") {
		t.Errorf("c says %q", m.note)
	}
	if press("r"); m.page != pageCode {
		t.Error("r shows no code")
	}
	if press("esc"); m.page != pageNone {
		t.Error("Esc does not lead back")
	}
	if press("q", "ctrl+c"); stops != 2 {
		t.Errorf("%d of 2 keys stop", stops)
	}
	if cmd := press("ctrl+z"); canSuspend && (cmd == nil || m.let != stop) {
		t.Error("Ctrl-Z does not let go of the terminal")
	}
}

// The pictures in the documents are the snapshots.
func TestPicturesInDocumentsAreSnapshots(t *testing.T) {
	picture := regexp.MustCompile(`(?s)<!-- screen (\S+) -->\n(.*?)<!-- end -->`)
	for _, name := range []string{"README.md", "docs/running-a-remote.md"} {
		path := filepath.Join("..", "..", "..", name)
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !picture.Match(page) {
			t.Errorf("%s has no picture", name)
		}
		now := picture.ReplaceAllStringFunc(string(page), func(found string) string {
			snapshot := picture.FindStringSubmatch(found)[1]
			text, err := os.ReadFile(filepath.Join("testdata", snapshot+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			return "<!-- screen " + snapshot + " -->\n```text\n" + string(text) + "```\n<!-- end -->"
		})
		switch {
		case now == string(page):
		case *update:
			if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s is older than the snapshot: go test ./cmd/remote/screen -update", name)
		}
	}
}

// A mistake in what is shown ends the screen, which says so, and nothing else.
func TestMistakeEndsTheScreenAlone(t *testing.T) {
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer typed.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	failed := make(chan error, 1)
	s := Start(Config{In: in, Out: out, Figures: func() Figures { panic("a mistake") }, Failed: func(err error) { failed <- err }})
	if err := <-failed; !strings.Contains(err.Error(), "a mistake") || s.Up() {
		t.Errorf("%v, up: %v", err, s.Up())
	}
	if err := s.Close(); err == nil {
		t.Error("Close does not say so")
	}
	calm := Start(Config{In: in, Out: out, Figures: served, Failed: func(err error) { t.Error(err) }})
	if err := calm.Close(); err != nil {
		t.Error(err)
	}
}

// No size makes it fail, and none is exceeded.
func TestEachSizeIsKept(t *testing.T) {
	for _, f := range []Figures{{}, served(), several(9)} {
		for _, columns := range []int{0, 1, 3, 15, 59} {
			for _, lines := range []int{0, 1, 2, 9} {
				for _, key := range []string{"", "?", "r", "w"} {
					fits(t, shown(t, columns, lines, f, key).lines(), columns, lines)
				}
			}
		}
	}
}

// hostile is what nobody may show on a terminal: it sets a title, clears the screen, turns
// the direction of writing, writes into the clipboard, and begins new lines.
const hostile = "\x1b]0;owned\a\x1b[2J\x1b[31m\u202e\u009b2J\x1b]52;c;b3duZWQ=\a\x1bP1$r\x1b\\\r\n\t\b\x00\x7f\xff\u2028\u200d\U000e0041"

// poison puts hostile text into each text of a value.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("a" + hostile + "z" + v.String())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() {
				poison(f)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			poison(v.Index(i))
		}
	}
}

// Nothing of what comes from outside steers the terminal, wherever it stands.
func TestNothingFromOutsideSteersTheTerminal(t *testing.T) {
	for _, f := range []Figures{served(), several(3)} {
		f.Alarms, f.State = []string{"alarm"}, "state"
		poison(reflect.ValueOf(&f).Elem())
		for _, keys := range [][]string{nil, {"?"}, {"w"}, {"r"}, {"c"}, {"o"}, {"i"}, {"down"}} {
			for _, columns := range []int{30, 80, 200} {
				m := shown(t, columns, 60, f, keys...)
				m.config.Inspector = hostile
				for _, l := range m.lines() {
					rest := ansi.Strip(l)
					for _, c := range rest {
						if !unicode.IsPrint(c) {
							t.Fatalf("%v: %q in %q", keys, c, l)
						}
					}
					if n := strings.Count(l, "\x1b"); n != strings.Count(l, "\x1b[") || strings.Contains(l, "\x1b[2J") {
						t.Fatalf("%v: %q", keys, l)
					}
				}
			}
		}
	}
}
