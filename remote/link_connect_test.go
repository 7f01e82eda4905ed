package remote

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"keystay/framing"
	"keystay/internal/proxydial"
)

// Only what is shown to be no relay is passed on the way down.
func TestNextCandidateOnlyAfterOneThatIsNoRelay(t *testing.T) {
	gone := &NoRelayError{Err: errNotRelay}
	silent := &NoRelayError{Err: context.DeadlineExceeded}
	for name, c := range map[string]struct {
		says  map[string]error
		wins  string // "" if nobody does
		asked string
	}{
		"the first":             {map[string]error{}, "a", "a"},
		"the first is none":     {map[string]error{"a": gone}, "b", "a b"},
		"the first is silent":   {map[string]error{"a": silent}, "", "a"},
		"the second is silent":  {map[string]error{"a": gone, "b": silent}, "", "a b"},
		"none of them is":       {map[string]error{"a": gone, "b": gone, "c": gone}, "", "a b c"},
		"the last is reachable": {map[string]error{"a": gone, "b": gone}, "c", "a b c"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			r, err := firstAnswer(t.Context(), []string{"a", "b", "c"}, func(_ context.Context, name string) (*reached, error) {
				asked = append(asked, name)
				if err := c.says[name]; err != nil {
					return nil, err
				}
				return &reached{relay: name}, nil
			})
			if (err == nil) != (c.wins != "") || err == nil && r.relay != c.wins || strings.Join(asked, " ") != c.asked {
				t.Errorf("got %+v, %v; asked %q, want %q", r, err, asked, c.asked)
			}
		})
	}
}

// When its time is over nobody else is asked.
func TestNobodyElseIsAskedWhenTheTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := 0
		_, err := firstAnswer(ctx, []string{"a", "b"}, func(ctx context.Context, _ string) (*reached, error) {
			asked++
			<-ctx.Done()
			return nil, errNotRelay
		})
		if asked != 1 || err == nil {
			t.Errorf("asked %d, %v", asked, err)
		}
	})
}

// What shows that there is no relay, and what shows nothing.
func TestIsNoRelay(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	none := []error{
		errNotRelay,
		refused,
		&net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}},
		&proxydial.Error{Status: 502},
		&framing.UpgradeError{Status: 404},
		&blockedError{tls: &net.OpError{Op: "read", Err: errors.New("reset")}, wss: &framing.UpgradeError{Status: 200}},
	}
	unknown := []error{
		context.DeadlineExceeded,
		errNoCertificate,
		&net.OpError{Op: "read", Err: errors.New("connection reset by peer")},
		&net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}},
		&proxydial.Error{Status: 407},
		&proxydial.Error{Err: refused},
		&framing.UpgradeError{Status: 503},
	}
	for _, err := range slices.Concat(none, unknown) {
		if got, want := isNoRelay(&NoRelayError{Err: err}), slices.Contains(none, err); got != want {
			t.Errorf("%v shows that there is no relay: %v", err, got)
		}
	}
}
