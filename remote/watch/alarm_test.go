package watch_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/internal/statement"
	"keystay/internal/testca"
	"keystay/remote/watch"
)

func TestMain(m *testing.M) {
	if out := os.Getenv("KEYSTAY_TEST_ALARM"); out != "" { // this program is the command of an alarm
		told, _ := io.ReadAll(os.Stdin)
		_ = os.WriteFile(out, told, 0o600)
		if bytes.Contains(told, []byte("fails")) {
			os.Exit(3)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// A book is a log that can be read while it is written.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *book) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// foreign returns an alarm with a certificate of its own.
func foreign(t *testing.T, name string) watch.Alarm {
	t.Helper()
	leaf, err := x509.ParseCertificate(testca.New(t).Issue(name).Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return watch.Alarm{Name: name, Seen: watch.Path, Where: "192.0.2.1:443", Key: statement.KeyOf(leaf),
		Chain: [][]byte{leaf.Raw}, Time: time.Now(), Text: "it shows another key"}
}

func TestAnAlarmComesOnceADayForEachNameAndKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log book
		var stops int
		a := &watch.Alarms{Logger: log.logger(), Stop: func(watch.Alarm) { stops++ }}
		first := foreign(t, "xyz.relay.example")
		ct := first
		ct.Seen = watch.CT
		for i, raised := range []bool{a.Raise(first), a.Raise(ct), a.Raise(foreign(t, "xyz.relay.example")), a.Raise(foreign(t, "abc.relay.example"))} {
			if !raised {
				t.Errorf("alarm %d is not raised", i)
			}
		}
		if a.Raise(first) {
			t.Error("it is raised again at once")
		}
		time.Sleep(25 * time.Hour)
		first.Time = time.Now()
		if !a.Raise(first) {
			t.Error("it is not raised again a day later")
		}
		if got := strings.Count(log.String(), "level=ERROR msg=intercepted"); got != 5 || stops != 5 {
			t.Errorf("the log has it %d times, and %d times it was stopped", got, stops)
		}
	})
}

func TestTheCertificatesAreKeptOnceForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evidence")
	a := &watch.Alarms{Dir: dir}
	alarm := foreign(t, "xyz.relay.example")
	a.Raise(alarm)
	(&watch.Alarms{Dir: dir}).Raise(alarm) // after a restart
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil || !bytes.Equal(block.Bytes, alarm.Chain[0]) || !bytes.Contains(text, []byte("where: 192.0.2.1:443\n")) {
		t.Errorf("%s", text)
	}
}

func TestEvidenceIsBoundedAndItsBeginningStays(t *testing.T) {
	dir := t.TempDir()
	a := &watch.Alarms{Dir: dir}
	alarm := foreign(t, "xyz.relay.example")
	begin := alarm.Time
	const more = 5
	for i := range watch.MaxEvidence + more {
		alarm.Key = [32]byte{byte(i)}
		alarm.Time = begin.Add(time.Duration(i) * time.Second)
		a.Raise(alarm)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) != watch.MaxEvidence {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for i, at := range map[int]int{0: 0, watch.MaxEvidence - 2: watch.MaxEvidence - 2, watch.MaxEvidence - 1: watch.MaxEvidence + more - 1} {
		if want := begin.Add(time.Duration(at) * time.Second).UTC().Format("20060102T150405Z"); !strings.HasPrefix(filepath.Base(files[i]), want) {
			t.Errorf("file %d is %s, want that of %s", i, files[i], want)
		}
	}
}

func TestACommandGetsTheAlarm(t *testing.T) {
	out := filepath.Join(t.TempDir(), "told")
	t.Setenv("KEYSTAY_TEST_ALARM", out)
	var log book
	a := &watch.Alarms{Run: []string{os.Args[0], "-test.run=NONE"}, Logger: log.logger()}
	alarm := foreign(t, "xyz.relay.example")
	a.Raise(alarm)
	a.Shutdown(context.Background())
	told, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err, log.String())
	}
	var got struct {
		Event, Name, Seen, Where, Text string
		Key                            string `json:"key_sha256"`
	}
	if err := json.Unmarshal(told, &got); err != nil {
		t.Fatal(err)
	}
	if got.Event != "intercepted" || got.Name != alarm.Name || got.Seen != "path" || got.Where != alarm.Where || got.Key != fmt.Sprintf("%x", alarm.Key) {
		t.Errorf("%s", told)
	}
}

func TestACommandThatFailsIsInTheLog(t *testing.T) {
	t.Setenv("KEYSTAY_TEST_ALARM", filepath.Join(t.TempDir(), "told"))
	var log book
	a := &watch.Alarms{Run: []string{os.Args[0]}, Logger: log.logger()}
	alarm := foreign(t, "xyz.relay.example")
	alarm.Text = "it fails"
	a.Raise(alarm)
	a.Shutdown(context.Background())
	if !strings.Contains(log.String(), "the command for alarms has failed") || !strings.Contains(log.String(), "exit status 3") {
		t.Error(log.String())
	}
}

// answers gives one answer after the other.
type answers struct {
	mu   sync.Mutex
	left []func() (*http.Response, error)
	told []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.told = append(a.told, r.URL.String()+" "+string(body))
	next := a.left[0]
	a.left = a.left[1:]
	a.mu.Unlock()
	return next()
}

func status(code int) func() (*http.Response, error) {
	return func() (*http.Response, error) {
		return &http.Response{StatusCode: code, Body: http.NoBody, Header: http.Header{}}, nil
	}
}

func TestAWebhookIsToldAndTriedAgain(t *testing.T) {
	fails := func() (*http.Response, error) { return nil, errors.New("no way") }
	for _, c := range []struct {
		name  string
		left  []func() (*http.Response, error)
		tries int
		fault string
	}{
		{"at once", []func() (*http.Response, error){status(204)}, 1, ""},
		{"later", []func() (*http.Response, error){fails, status(500), status(200)}, 3, ""},
		{"never", []func() (*http.Response, error){fails, fails, status(302)}, 3, "it answers 302"},
		{"no way", []func() (*http.Response, error){fails, fails, fails}, 3, "no way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log book
				hook := &answers{left: c.left}
				a := &watch.Alarms{Post: "https://hook.example/secret", Logger: log.logger()}
				a.SetTransport(hook)
				a.Raise(foreign(t, "xyz.relay.example"))
				a.Shutdown(context.Background())
				if len(hook.told) != c.tries || !strings.HasPrefix(hook.told[0], `https://hook.example/secret {"event":"intercepted","name":"xyz.relay.example"`) {
					t.Errorf("%d tries: %q", len(hook.told), hook.told)
				}
				if failed := strings.Contains(log.String(), "the webhook for alarms has failed"); failed != (c.fault != "") || !strings.Contains(log.String(), c.fault) {
					t.Error(log.String())
				}
				if strings.Contains(log.String(), "hook.example") {
					t.Errorf("the log has the webhook's URL: %s", log.String())
				}
			})
		})
	}
}

func TestShutdownCutsAWebhookThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		hook := &answers{left: []func() (*http.Response, error){status(500), status(500), status(500)}}
		a := &watch.Alarms{Post: "https://hook.example/"}
		a.SetTransport(hook)
		a.Raise(foreign(t, "xyz.relay.example"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.Shutdown(ctx)
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func ExampleAlarms_Raise() {
	a := &watch.Alarms{Stop: func(alarm watch.Alarm) { fmt.Println(alarm.Name, "at", alarm.Where) }}
	alarm := watch.Alarm{Name: "xyz.relay.example", Seen: watch.Path, Where: "192.0.2.1:443", Time: time.Now()}
	fmt.Println(a.Raise(alarm), a.Raise(alarm))
	// Output:
	// xyz.relay.example at 192.0.2.1:443
	// true false
}
