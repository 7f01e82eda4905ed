package watch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"time"

	"keystay/internal/hint"
)

// Message is what the log says of each alarm, at level error.
const Message = "intercepted"

// Seen is how an alarm came to be raised.
type Seen string

const (
	// Path: a connection to the public name met a key that is not the device's, or did
	// not end at the device.
	Path Seen = "path"
	// CT: a log of certificate transparency has a certificate with a key that is not the
	// device's.
	CT Seen = "ct"
)

// An Alarm says that somebody may read along what visitors of a name say.
type Alarm struct {
	Name  string // the public name
	Seen  Seen
	Where string            // with Path the address that was dialled, and through which proxy; with CT whoever was asked
	Key   [sha256.Size]byte // SHA-256 of the certificate's SubjectPublicKeyInfo
	Chain [][]byte          // in DER, the leaf first; it may be empty
	Time  time.Time         // when it was seen
	Text  string            // for people: one sentence, without a full stop

	// Evidence is the file in which the certificates are kept, or empty. Raise sets it.
	Evidence string
}

// notice is the JSON that commands and webhooks get. Fields are added, never changed.
type notice struct {
	Event    string    `json:"event"` // always [Message]
	Name     string    `json:"name"`
	Seen     Seen      `json:"seen"`
	Where    string    `json:"where"`
	Key      string    `json:"key_sha256"`
	Time     time.Time `json:"time"`
	Text     string    `json:"text"`
	Evidence string    `json:"evidence,omitempty"`
}

func (a *Alarm) json() []byte {
	b, _ := json.Marshal(notice{Message, a.Name, a.Seen, a.Where, hex.EncodeToString(a.Key[:]), a.Time.UTC(), a.Text, a.Evidence})
	return append(b, '\n') // text and times always have a form in JSON
}

const (
	// quietAfter is for how long no alarm comes again for the same key.
	quietAfter = 24 * time.Hour
	// maxTold is how many alarms are remembered for that; the oldest goes first.
	maxTold = 1024
	// maxActing is how many alarms may have commands or webhooks under way at once.
	maxActing = 8
)

// Alarms raises alarms: in the log, with the certificates kept as evidence, by a command,
// by a webhook, and by an end of the program. The zero value logs nothing and does
// nothing. Its methods may be called from several goroutines.
type Alarms struct {
	// Dir is where evidence is kept; empty keeps none. It is made with mode 0700.
	Dir string

	// Run is a command with its arguments, which gets the alarm as one line of JSON on
	// its standard input; empty is none. No shell is between. It has a minute.
	Run []string

	// Post is a URL to which the same JSON is posted, in up to three tries of 10 seconds;
	// empty is none. It is in no log, since it may hold a secret. Redirects are not followed.
	Post string

	// Proxy chooses a proxy for Post; nil is none.
	Proxy func(*http.Request) (*url.URL, error)

	// Stop is called once an alarm is in the log and its evidence kept; nil is to go on.
	// It must not block.
	Stop func(Alarm)

	// Logger hears of alarms, and of commands and webhooks that fail; nil discards.
	Logger *slog.Logger

	transport http.RoundTripper // of Post, for tests

	mu     sync.Mutex
	told   map[toldAlarm]time.Time
	acting int
	wg     sync.WaitGroup  // of actions
	ctx    context.Context // of actions; made with the first
	cut    context.CancelFunc
	over   bool // nothing is begun any more
}

type toldAlarm struct {
	name string
	seen Seen
	key  [sha256.Size]byte
}

// Raise raises an alarm, and reports whether it did: for the same name, key and way of
// seeing it there is none again within a day. The command and the webhook go on behind
// it; see Shutdown.
func (a *Alarms) Raise(alarm Alarm) bool {
	if !a.isNews(toldAlarm{alarm.Name, alarm.Seen, alarm.Key}, alarm.Time) {
		return false
	}
	log := a.logger()
	var err error
	if alarm.Evidence, err = a.keep(alarm); err != nil {
		log.Error("the evidence of an alarm could not be kept", "name", alarm.Name, "err", err)
	}
	log.Error(Message, "name", alarm.Name, "seen", string(alarm.Seen), "text", alarm.Text, "where", alarm.Where,
		"key_sha256", hex.EncodeToString(alarm.Key[:]), "evidence", alarm.Evidence, hint.Attr(hint.Intercepted.With("NAME", alarm.Name)))
	a.act(alarm)
	if a.Stop != nil {
		a.Stop(alarm)
	}
	return true
}

// isNews reports whether an alarm has not been raised within a day, and notes that it is
// now.
func (a *Alarms) isNews(t toldAlarm, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, ok := a.told[t]; ok && now.Sub(at) < quietAfter {
		return false
	}
	if a.told == nil {
		a.told = make(map[toldAlarm]time.Time)
	}
	maps.DeleteFunc(a.told, func(_ toldAlarm, at time.Time) bool { return now.Sub(at) >= quietAfter })
	if len(a.told) >= maxTold {
		var oldest toldAlarm
		for t, at := range a.told {
			if first := a.told[oldest]; first.IsZero() || at.Before(first) {
				oldest = t
			}
		}
		delete(a.told, oldest)
	}
	a.told[t] = now
	return true
}

// Shutdown waits until no command and no webhook is under way, and cuts those that are
// when ctx ends. Alarms raised from then on have neither.
func (a *Alarms) Shutdown(ctx context.Context) {
	a.mu.Lock()
	a.over = true
	if a.cut != nil {
		defer context.AfterFunc(ctx, a.cut)()
	}
	a.mu.Unlock()
	a.wg.Wait()
}

func (a *Alarms) logger() *slog.Logger {
	if a.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Logger
}
