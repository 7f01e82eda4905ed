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
		&proxydial.Error{Status: 404},
		&blockedError{tls: &net.OpError{Op: "read", Err: errors.New("reset")}, wss: &framing.UpgradeError{Status: 200}},
	}
	unknown := []error{
		context.DeadlineExceeded,
		errNoCertificate,
		&net.OpError{Op: "read", Err: errors.New("connection reset by peer")},
		&net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}},
		&proxydial.Error{Err: refused},
		&proxydial.Error{Err: &net.OpError{Op: "dial", Err: &net.DNSError{IsNotFound: true}}}, // the proxy's own name
		&blockedError{tls: &net.OpError{Op: "read", Err: errors.New("reset")}, wss: &framing.UpgradeError{Status: 503}},
	}
	for _, status := range []int{200, 204, 301, 302, 308, 400, 404, 405, 410, 426} {
		none = append(none, &framing.UpgradeError{Status: status})
	}
	// A relay that has too much to do, or what stands before it, says so.
	for _, status := range []int{401, 403, 407, 408, 421, 425, 429, 451, 500, 501, 502, 503, 504, 520, 529, 599} {
		unknown = append(unknown, &framing.UpgradeError{Status: status})
	}
	// A proxy says the same of a name without an address and of a busy relay.
	for _, status := range []int{301, 400, 401, 403, 405, 407, 408, 410, 421, 429, 500, 501, 502, 503, 504, 529} {
		unknown = append(unknown, &proxydial.Error{Status: status})
	}
	for _, err := range slices.Concat(none, unknown) {
		if got, want := isNoRelay(&NoRelayError{Err: err}), slices.Contains(none, err); got != want {
			t.Errorf("%v shows that there is no relay: %v", err, got)
		}
	}
}
