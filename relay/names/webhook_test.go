package names_test

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"keystay/internal/keyname"
	"keystay/relay/names"
)

// outside returns a policy that asks a server, which answers by f.
func outside(t *testing.T, remember time.Duration, f http.HandlerFunc) func(*names.Names) {
	srv := httptest.NewServer(f)
	t.Cleanup(srv.Close)
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w := &names.Webhook{URL: srv.URL, Secret: []byte("a secret of the webhook"), Remember: remember, Client: client}
	return func(n *names.Names) { n.Ask = w.Ask }
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// Only a whole yes gives a name out. Whatever else comes denies it, for now or for
// good, and nothing is written.
func TestOnlyAYesOfTheWebhookGivesANameOut(t *testing.T) {
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		code   names.Code // 0 is granted
	}{
		"yes":                    {says(`{"allow": true}`), 0},
		"yes and more":           {says(`{"allow": true, "reason": "x", "new": [1]}`), 0},
		"no":                     {says(`{"allow": false, "reason": "not you", "hint": "call us"}`), names.DeniedClosed},
		"not now":                {says(`{"allow": false, "retry_after": 60}`), names.DeniedLimit},
		"nothing":                {says(``), names.DeniedUnavailable},
		"null":                   {says(`null`), names.DeniedUnavailable},
		"without allow":          {says(`{}`), names.DeniedUnavailable},
		"allow as text":          {says(`{"allow": "true"}`), names.DeniedUnavailable},
		"allow null":             {says(`{"allow": null}`), names.DeniedUnavailable},
		"a page":                 {says(`<html>`), names.DeniedUnavailable},
		"two answers":            {says(`{"allow": true}{"allow": false}`), names.DeniedUnavailable},
		"a long one":             {says(`{"allow": true, "x": "` + strings.Repeat("x", 20<<10) + `"}`), names.DeniedUnavailable},
		"500":                    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"allow": true}`, 500) }, names.DeniedUnavailable},
		"201":                    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); io.WriteString(w, `{"allow": true}`) }, names.DeniedUnavailable},
		"a redirect":             {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, names.DeniedUnavailable},
		"an end in the middle":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, names.DeniedUnavailable},
		"no answer for too long": {func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, names.DeniedUnavailable},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, outside(t, 0, c.answer))
			a := newIdentity(t)
			err := r.claim(a, "a.relay.test", "")
			if c.code == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			denied(t, err, c.code)
			if n := r.grants().Count(); n != 0 {
				t.Errorf("%d names are written down", n)
			}
			var d *names.Denied
			if errors.As(err, &d) && what == "no" && (d.Text != "the relay's operator does not give out this name: not you" || d.Hints[0] != "call us") {
				t.Errorf("told %q, %q", d.Text, d.Hints)
			}
		})
	}
}

// The question has the name, the identity, the token and the address, and is signed.
func TestQuestionOfTheWebhookIsSigned(t *testing.T) {
	var got names.Question
	var problem error
	r := newRig(t, outside(t, 0, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sign := r.Header.Get(names.SignatureHeader)
		at, _, _ := strings.Cut(strings.TrimPrefix(sign, "t="), ",")
		seconds, err := strconv.ParseInt(at, 10, 64)
		want := names.Sign([]byte("a secret of the webhook"), body, time.Unix(seconds, 0))
		problem = errors.Join(err, json.Unmarshal(body, &got))
		if !hmac.Equal([]byte(sign), []byte(want)) || time.Since(time.Unix(seconds, 0)) > time.Hour || r.Method != "POST" {
			problem = errors.Join(problem, errors.New("signed as "+sign))
		}
		io.WriteString(w, `{"allow": true}`)
	}))
	a := newIdentity(t)
	_, err := r.names.Claim(t.Context(), names.Claimant{Name: "a.relay.test", Key: public(a), Token: "an invitation", Source: netip.MustParseAddr("192.0.2.7")})
	if err := errors.Join(err, problem); err != nil {
		t.Fatal(err)
	}
	if want := (names.Question{Name: "a.relay.test", Identity: keyname.Label(public(a), ""), Token: "an invitation", Source: "192.0.2.7"}); got != want {
		t.Errorf("asked %+v, want %+v", got, want)
	}
}

// Who has a name already, who is denied anyhow, and a name made from a key are not
// asked about; and the same question is not asked again while its answer counts.
func TestWebhookIsAskedOnlyAboutNewNames(t *testing.T) {
	var asked atomic.Int32
	yes := true
	r := newRig(t, outside(t, time.Hour, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		json.NewEncoder(w).Encode(names.Answer{Allow: &yes})
	}))
	a, b := newIdentity(t), newIdentity(t)
	times := func(n int32) {
		t.Helper()
		if got := asked.Load(); got != n {
			t.Errorf("asked %d times, want %d", got, n)
		}
	}
	r.allowed(a, "a.relay.test", "")
	r.allowed(a, "a.relay.test", "")
	times(1)
	r.allowed(a, a.label(), "")
	denied(t, r.claim(b, "a.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(b, "www.relay.test", ""), names.DeniedToken)
	denied(t, r.claim(b, "relay.test", ""), names.DeniedInvalid)
	times(1)
	yes = false
	denied(t, r.claim(b, "b.relay.test", ""), names.DeniedClosed)
	denied(t, r.claim(b, "b.relay.test", ""), names.DeniedClosed)
	times(2)
	denied(t, r.claim(b, "b.relay.test", "with a token"), names.DeniedClosed) // another question
	times(3)
}

// A device that leaves while the server is asked leaves nothing behind.
func TestClaimEndsWithItsLinkWhileTheWebhookIsAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, outside(t, 0, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	_, err := r.names.Claim(ctx, names.Claimant{Name: "a.relay.test", Key: public(newIdentity(t))})
	denied(t, err, names.DeniedUnavailable)
	if n := r.grants().Count(); n != 0 {
		t.Errorf("%d names are written down", n)
	}
}
