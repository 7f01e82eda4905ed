package remote

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/internal/hint"
)

// A name that is served and cannot be remembered keeps the key that it belongs to, until it is
// remembered.
func TestNoNewKeyWhileANameCannotBeRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, err := openState(dir)
		if err != nil {
			t.Fatal(err)
		}
		d := &Device{state: s, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		var end context.CancelFunc
		d.ctx, end = context.WithCancel(t.Context())
		w := &way{d: d, ctx: d.ctx}
		l := &Listener{d: d, domain: "app.relay.test", ctx: d.ctx}
		obstacle := filepath.Join(dir, servedFile(l.domain))
		write(t, filepath.Join(obstacle, "x"), "")
		began := time.Now()
		w.remember("relay.test", []decision{{l: l}})
		if time.Since(began) > 0 {
			t.Errorf("the name has waited for %v", time.Since(began))
		}
		key := s.public()
		if r, err := RotateIdentity(dir, false); !slices.Equal(hint.All(err), hint.NamesUnkept.Do) || r.New != "" {
			t.Errorf("%+v, %v", r, err)
		}
		if err := os.RemoveAll(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rememberAgain)
		synctest.Wait()
		r, err := RotateIdentity(dir, false)
		if err != nil || r.Old != labelOf(key) || len(r.Waiting) != 1 || r.Waiting[0].Relay != "relay.test" {
			t.Errorf("%+v, %v", r, err)
		}
		end()
		d.wg.Wait()
	})
}

// A name that is given back while a run still writes that a relay has given it is forgotten
// once that is written.
func TestNameGivenBackIsForgottenAfterARunHasWrittenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "app.relay.test"
		s, err := openState(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if unlock, err := s.lockName(name); err != nil || unlock() != nil {
			t.Fatal(err)
		}
		paid, err := s.owe() // as a run does when it is granted the name
		if err != nil {
			t.Fatal(err)
		}
		forgotten := make(chan error, 1)
		go func() { forgotten <- forgetAt(s.dir, name, []string{"relay.test"}) }()
		synctest.Wait()
		if err := s.remember(name, served{Relays: []string{"relay.test"}}); err != nil {
			t.Fatal(err)
		}
		paid()
		if err := <-forgotten; err != nil {
			t.Fatal(err)
		}
		if how, err := s.served(name); !errors.Is(err, errNotServed) {
			t.Errorf("it is remembered: %+v, %v", how, err)
		}
	})
}
