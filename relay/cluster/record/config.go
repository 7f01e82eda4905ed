package record

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"keystay/internal/budget"
)

const (
	// KeySize is the size of a Config's Key, in bytes.
	KeySize = 32
	// DefaultPrefix is the Prefix where there is none.
	DefaultPrefix = "keystay"
	// DefaultAnswerTime is the AnswerTime where there is none.
	DefaultAnswerTime = 3 * time.Second
)

// A Config says where the record is, and how to get there.
type Config struct {
	// Endpoints are the members of etcd, as http:// or https:// and host:port; at least
	// one.
	Endpoints []string

	// Username and Password are those of etcd; empty where it asks for none, or takes
	// the name from the certificate in TLS.
	Username, Password string

	// TLS is what to check etcd by, and to show it; nil is what the system trusts.
	TLS *tls.Config

	// Prefix begins all keys, and a slash follows it; empty means DefaultPrefix. Two
	// relays never share one.
	Prefix string

	// Key is the nodes' secret, of KeySize bytes; see the package.
	Key []byte

	// File is where it is noted how far the record was, so that an older one, or none,
	// is not taken for it; empty is nowhere.
	File string

	// Time is the record's time where there is no record yet; zero is that of Now.
	Time time.Time

	// NoNew makes no record where there is none: the error of Ready is ErrNone then.
	NoNew bool

	// MaxBytes is how much memory the record may take, in bytes: more is not read, and a
	// change that makes it more is refused. 0 is a quarter of what the process may have.
	MaxBytes int64

	// AnswerTime is how long etcd has for one answer; 0 is [DefaultAnswerTime].
	AnswerTime time.Duration

	// Logger hears when etcd is away, and when it is back; nil is nobody.
	Logger *slog.Logger

	// Now is a clock with a monotonic reading; nil is time.Now. It is for tests.
	Now func() time.Time
}

// check says what is wrong with c, or sets what it does not say.
func (c *Config) check() error {
	if len(c.Endpoints) == 0 {
		return errors.New("no endpoint of etcd is given")
	}
	if len(c.Key) != KeySize {
		return fmt.Errorf("the record's key has %d bytes, and not %d", len(c.Key), KeySize)
	}
	if c.Prefix = strings.Trim(c.Prefix, "/"); c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.AnswerTime <= 0 {
		c.AnswerTime = DefaultAnswerTime
	}
	if c.MaxBytes <= 0 {
		available, _ := budget.Available()
		c.MaxBytes = available / 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Time.IsZero() {
		c.Time = c.Now()
	}
	return nil
}
