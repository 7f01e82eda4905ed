package names

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"keystay/internal/keyname"
	"keystay/internal/plain"
)

const (
	// webhookTimeout is how long an answer of a webhook may take.
	webhookTimeout = 2 * time.Second
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 16 << 10
	// maxAsking is how many questions are under way at once.
	maxAsking = 16
	// maxAnswers is how many answers are remembered.
	maxAnswers = 4096
	// maxReason is how much of a text of the answer a device is shown, in bytes.
	maxReason = 500

	// SignatureHeader is the header of a question with its time and signature:
	// t=SECONDS,v1=HEX. SECONDS is the time since 1970. HEX is the HMAC-SHA256 over
	// SECONDS, a dot and the body, with the key of the webhook.
	SignatureHeader = "Keystay-Signature"
)

// A Webhook asks a server about new names: its method Ask is for Names.Ask. A question
// is a POST with a [Question] as JSON, and its answer, status 200, an [Answer].
// Anything else than a whole answer within 2 seconds gives out no name. The URL is
// required; the other fields may be zero.
type Webhook struct {
	URL      string
	Secret   []byte        // the key of the signatures
	Remember time.Duration // how long an answer counts for the same question; 0 asks each time
	Client   *http.Client  // nil is one of its own, which follows no redirect

	once   sync.Once
	asking chan struct{}
	mu     sync.Mutex
	told   map[Question]told // the answers that are remembered
}

// A Question asks whether a name may be given out.
type Question struct {
	Name     string `json:"name"`
	Identity string `json:"identity"`         // the label made from the device's key
	Token    string `json:"token,omitempty"`  // what the device showed
	Source   string `json:"source,omitempty"` // the address that its link comes from
}

// An Answer says whether it may.
type Answer struct {
	Allow      *bool  `json:"allow"` // must be there
	Reason     string `json:"reason,omitempty"`
	Hint       string `json:"hint,omitempty"`        // what the device's owner can do
	RetryAfter int    `json:"retry_after,omitempty"` // seconds; 0 is not to ask again
}

// told is an answer that counts for a while.
type told struct {
	denied error
	until  time.Time
}

// Sign returns the signature of a body at a time, as it is in SignatureHeader.
func Sign(secret, body []byte, at time.Time) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(seconds + "."))
	mac.Write(body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// Ask asks whether the claimant may have the name. The error is a *Denied when the
// server says no, and another one when it does not say.
func (w *Webhook) Ask(ctx context.Context, c Claimant) error {
	w.once.Do(func() {
		w.asking = make(chan struct{}, maxAsking)
		w.told = make(map[Question]told)
	})
	q := Question{Name: c.Name, Identity: keyname.Label(c.Key, ""), Token: c.Token}
	if c.Source.IsValid() {
		q.Source = c.Source.String()
	}
	if t, ok := w.remembered(q); ok {
		return t.denied
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	select {
	case w.asking <- struct{}{}:
		defer func() { <-w.asking }()
	case <-ctx.Done():
		return errors.New("ask the webhook: too many questions are under way")
	}
	a, err := w.post(ctx, q)
	if err != nil {
		return fmt.Errorf("ask the webhook: %w", err)
	}
	var denied error
	if !*a.Allow {
		denied = a.denied(&c)
	}
	w.remember(q, denied)
	return denied
}

// denied is what the device is told by a no.
func (a *Answer) denied(c *Claimant) *Denied {
	d := c.deny(DeniedClosed, "the relay's operator does not give out this name")
	if a.Reason != "" {
		d.Text += ": " + plain.Text(a.Reason[:min(len(a.Reason), maxReason)])
	}
	if a.Hint != "" {
		d.Hints = []string{plain.Text(a.Hint[:min(len(a.Hint), maxReason)])}
	}
	if a.RetryAfter > 0 {
		d.Code, d.Retry = DeniedLimit, time.Duration(min(a.RetryAfter, 24*3600))*time.Second
	}
	return d
}

// post asks the question.
func (w *Webhook) post(ctx context.Context, q Question) (a Answer, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return a, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "keystay-relay")
	req.Header.Set(SignatureHeader, Sign(w.Secret, body, time.Now()))
	client := w.Client
	if client == nil {
		client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	resp, err := client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("it answered %s", plain.Text(resp.Status))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return a, err
	case len(text) > maxAnswer:
		return a, fmt.Errorf("its answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("its answer is no JSON as it is wanted: %w", err)
	}
	if a.Allow == nil {
		return a, errors.New(`its answer has no "allow"`)
	}
	return a, nil
}

// remembered returns the answer to a question that still counts.
func (w *Webhook) remembered(q Question) (told, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.told[q]
	return t, ok && time.Now().Before(t.until)
}

// remember notes an answer. When there are too many, all are forgotten.
func (w *Webhook) remember(q Question, denied error) {
	if w.Remember <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.told) >= maxAnswers {
		clear(w.told)
	}
	w.told[q] = told{denied, time.Now().Add(w.Remember)}
}
