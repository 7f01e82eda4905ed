package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/cmd/remote/screen"
	"keystay/config"
	"keystay/internal/hint"
	"keystay/remote/watch"
)

// shownBy is what the screen of a run is given.
func shownBy(t *testing.T) (p *process, l *live) {
	t.Helper()
	p, _ = answering(t)
	p.live = newLive()
	return p, p.live
}

// The screen has what status has: the address, its target, who holds the key, and why the
// name is not up.
func TestScreenHasWhatStatusHas(t *testing.T) {
	p, _ := shownBy(t)
	serves(t, p, "a.relay.test")
	f := p.figures()
	if len(f.Names) != 1 || f.Names[0].URL != "https://a.relay.test" || f.Names[0].Up || len(f.Alarms) != 0 {
		t.Fatalf("%+v", f)
	}
	rows := fmt.Sprint(f.Names[0].Rows)
	for _, want := range []string{"State not up: ", "Key on this device only", "From outside ", "Certificate none", "no link is up", "Visitors 0 now", "CT logs not watched"} {
		if !strings.Contains(rows, want) {
			t.Errorf("no %q in %s", want, rows)
		}
	}
	p.endDrain()
	if f = p.figures(); !strings.Contains(f.State, "Stopping") {
		t.Errorf("%q", f.State)
	}
}

// An interception stands above everything, and the key is not said to be the device's.
func TestScreenSaysInterceptedFirst(t *testing.T) {
	s := status{Names: []nameStatus{{Name: "a.b", Intercepted: true, Alarm: &lookStatus{State: string(watch.Intercepted), Text: "a foreign key"}, Outside: lookStatus{State: string(watch.Intercepted), Text: "a foreign key"}}}}
	for _, r := range s.rows(&s.Names[0]) {
		if (r.Label == "Key" || r.Label == "From outside") && r.Mood != screen.Bad {
			t.Errorf("%+v", r)
		}
	}
	p, l := shownBy(t)
	l.status, l.asked = s, time.Now().Add(time.Hour)
	if f := p.figures(); len(f.Alarms) != 1 || !strings.Contains(f.Alarms[0], "INTERCEPTED: a.b: a foreign key") {
		t.Errorf("%+v", f.Alarms)
	}
}

// Each relay of a name is there once, with its fastest round trip and its links.
func TestScreenHasEachRelayOnce(t *testing.T) {
	since := time.Now().Add(-time.Hour)
	s := status{Links: []linkStatus{{"a.net", 12.3, since, "eu-1"}, {"a.net", 11.1, since, "eu-2"}, {"b.net", 0, since, ""}, {"c.net", 5, since, "c1"}, {"c.net", 6, since, "c1"}}}
	for want, n := range map[string]nameStatus{
		"a.net, round trip 11.1 ms, 2 links on eu-1 and eu-2, for 1 h|b.net, round trip not measured yet, 1 link, for 1 h": {Relays: []string{"a.net", "b.net"}},
		"c.net, round trip 5.0 ms, 2 links on c1, for 1 h":                                                                 {Relays: []string{"c.net"}},
	} {
		if got := strings.Join(s.relays(&n), "|"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Before there is a screen nothing is written; what the log has said is shown there, with
// its hints. Without one it is written after all.
func TestWhatIsSaidWaitsForTheScreen(t *testing.T) {
	p, l := shownBy(t)
	var out bytes.Buffer
	l.plain = lines(&out, func() int { return 1000 })
	log := slog.New(newPeople(l.tell))
	refused := hint.NothingListens.Error(errors.New("connection refused"))
	log.Info("session is up", "relay", "relay.net")
	log.Warn("no session with the relay; trying again", "err", refused, hint.Attr(hint.All(refused)))
	if out.Len() > 0 {
		t.Errorf("%q is written", out.String())
	}
	m := p.figures().Messages
	if len(m) != 2 || m[0].Mood != screen.Plain || m[1].Mood != screen.Doubtful || len(m[1].Hints) == 0 || m[1].Text != "Not connected: connection refused. Trying again." {
		t.Errorf("%+v", m)
	}
	for range 2 * keptMessages {
		l.tell(screen.Message{Text: "more"})
	}
	if n := len(p.figures().Messages); n != keptMessages {
		t.Errorf("%d messages are kept", n)
	}
	p.endScreen(errors.New("it has not come that far"))
	if n := strings.Count(out.String(), "more\n"); n != keptMessages {
		t.Errorf("%d of %d are written", n, keptMessages)
	}
}

// What is no terminal gets no screen, nor does somebody who asked for lines.
func TestNoScreenWithoutATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if p := (&process{out: file, cfg: &config.Remote{}}); p.wantsScreen() {
		t.Error("a file gets a screen")
	}
}

// Of a TCP port the screen says who can read along, and nothing of keys and certificates.
func TestLiveScreenSaysThatATCPPortIsNotEncrypted(t *testing.T) {
	s := status{Names: []nameStatus{{Name: "relay.net:20022", URL: "tcp://relay.net:20022", TCP: true, Up: true, Outside: lookStatus{State: isOff, Text: lookIsForTLS}}}}
	said := map[string]string{}
	for _, r := range s.rows(&s.Names[0]) {
		said[r.Label] = r.Text
	}
	if said["TCP port"] != portText {
		t.Errorf("of the port it says %q", said["TCP port"])
	}
	for _, label := range []string{"Key", "Certificate", "From outside", "CT logs"} {
		if text, ok := said[label]; ok {
			t.Errorf("%s: %q", label, text)
		}
	}
}
