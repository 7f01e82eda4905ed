package record

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"keystay/internal/hint"
	"keystay/relay/names"
)

const (
	// dialTime is how long a member has to take a connection.
	dialTime = 2 * time.Second
	// redialTime is the longest time between attempts to reach a member.
	redialTime = time.Second
	// pingEvery is how often a connection is tried that is silent. etcd takes no pings
	// that come more often (--grpc-keepalive-min-time).
	pingEvery = 5 * time.Second
	// maxMessage is the longest answer that is taken of etcd, in bytes. A longer one is not
	// read: it is asked for in smaller parts.
	maxMessage = 16 << 20
)

// client makes a client of etcd. With a password it asks etcd for a token.
func (c *Config) client(ctx context.Context) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Context:              ctx,
		Endpoints:            c.Endpoints,
		Username:             c.Username,
		Password:             c.Password,
		TLS:                  c.tls(),
		DialTimeout:          c.AnswerTime,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: dialTime,
		MaxCallRecvMsgSize:   maxMessage,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialTime / 10, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialTime},
			MinConnectTimeout: dialTime,
		})},
	})
}

// refused notes that etcd has not done what it was asked: it is away, or says no.
func (e *etcd) refused(err error) error {
	if !isNo(err) {
		return e.gone(err)
	}
	err = fmt.Errorf("%w: the relay's etcd refuses: %w", names.ErrClosed, err)
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		err = hint.EtcdFull.Error(err)
	case isDenied(err):
		err = hint.EtcdRefuses.Error(err)
	}
	if tell, _ := e.refusal.Failed(1); tell {
		e.log.Error("etcd does not take a change", "err", err, hint.Attr(hint.All(err)))
	}
	return err
}

// isNo reports whether etcd has answered, and does not do it.
func isNo(err error) bool {
	return errors.Is(err, rpctypes.ErrNoSpace) || isDenied(err) || code(err) == codes.InvalidArgument
}

// isLong reports whether an answer was longer than maxMessage.
func isLong(err error) bool {
	var e rpctypes.EtcdError // what etcd itself says is another thing
	return !errors.As(err, &e) && status.Code(err) == codes.ResourceExhausted
}

// isDenied reports whether etcd says that this relay may not.
func isDenied(err error) bool {
	c := code(err)
	return c == codes.PermissionDenied || c == codes.Unauthenticated || errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty)
}

func code(err error) codes.Code {
	var e rpctypes.EtcdError
	if errors.As(err, &e) {
		return e.Code()
	}
	return status.Code(err)
}

// awayError says that etcd does not answer, or to nobody like this relay.
func (c *Config) awayError(err error, look bool) error {
	if isDenied(err) {
		return hint.EtcdRefuses.Error(fmt.Errorf("%w: the relay's etcd refuses: %w", names.ErrClosed, err))
	}
	if errors.Is(err, context.DeadlineExceeded) || code(err) == codes.DeadlineExceeded {
		err = errors.New("no answer in time")
		if look {
			err = cmp.Or(c.reach(), err)
		}
	}
	return hint.EtcdAway.Error(fmt.Errorf("%w: the relay's etcd does not answer: %w", names.ErrClosed, err))
}

// reach says why no member can be reached, or nil: etcd's client only says that it is
// late.
func (c *Config) reach() (err error) {
	for _, e := range c.Endpoints {
		u, wrong := url.Parse(e)
		if wrong != nil {
			return wrong
		}
		d := net.Dialer{Timeout: dialTime / 2}
		var conn net.Conn
		if u.Scheme == "https" {
			conn, err = tls.DialWithDialer(&d, "tcp", u.Host, c.tls())
		} else {
			conn, err = d.Dial("tcp", u.Host)
		}
		if err == nil {
			conn.Close()
			return nil
		}
	}
	return err
}

// tls is what etcd is checked by.
func (c *Config) tls() *tls.Config {
	if c.TLS != nil {
		return c.TLS
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}
