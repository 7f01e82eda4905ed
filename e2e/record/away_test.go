package record_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"keystay/e2e/internal/etcd"
	"keystay/e2e/internal/world"
	"keystay/internal/hint"
	"keystay/internal/testca"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// A logged is what a node has logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), words)
}

func (l *logged) into(cfg *record.Config) { cfg.Logger = slog.New(slog.NewTextHandler(l, nil)) }

// While etcd cannot be reached a node goes on with what it knows: claims of names that
// devices have are answered, and new ones are not, with a reason. The log says once that
// etcd is away, and once that it is back. Then the node knows at once what others have
// done meanwhile.
func TestEtcdAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*etcd.Server, *world.Proxy) (back func()){
		"it has ended":        func(s *etcd.Server, _ *world.Proxy) func() { s.Stop(); return s.Run },
		"nothing comes of it": func(_ *etcd.Server, p *world.Proxy) func() { p.Hold(); return p.Release },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := etcd.Start(t, nil)
			p := world.StartProxy(t, strings.TrimPrefix(s.URL(), "http://"))
			var log logged
			n := open(t, s, func(cfg *record.Config) {
				cfg.Endpoints, cfg.AnswerTime = []string{"http://" + p.Addr}, 0
				log.into(cfg)
			})
			other := open(t, s, nil)
			ready(t, n, other)
			mine := newKey()
			if err := n.claim(mine, "a.relay.test"); err != nil {
				t.Fatal(err)
			}
			back := away(s, p)
			err := n.claim(newKey(), "b.relay.test")
			if !errors.Is(err, names.ErrClosed) || !strings.Contains(err.Error(), "the relay's etcd does not answer") || len(hint.All(err)) == 0 {
				t.Errorf("a new name: %v, %q", err, hint.All(err))
			}
			if err := n.claim(mine, "a.relay.test"); err != nil {
				t.Errorf("its own: %v", err)
			}
			for range 50 { // at once, since it is known now
				_ = n.claim(newKey(), "b.relay.test")
			}
			if err := n.record.Whole(); !errors.Is(err, names.ErrClosed) {
				t.Errorf("whole: %v", err)
			}
			if name == "nothing comes of it" {
				if _, err := other.Ban(names.Ban{Kind: names.BanName, Of: "a.relay.test"}); err != nil {
					t.Fatal(err)
				}
				if err := n.claim(mine, "a.relay.test"); err != nil {
					t.Errorf("a ban is known without etcd: %v", err)
				}
			}
			back()
			begin := time.Now()
			waitFor(t, "a new name is given out", func() bool { return n.claim(mine, "c.relay.test") == nil })
			t.Log("it took", time.Since(begin))
			if name == "nothing comes of it" {
				if n.claim(mine, "a.relay.test") == nil {
					t.Error("a ban from meanwhile is not known")
				}
			}
			if gone, here := log.count("etcd does not answer: what is up"), log.count("etcd answers again"); gone != 1 || here != 1 {
				t.Errorf("the log says %d times that etcd is away, %d times that it is back:\n%s", gone, here, log.buf.String())
			}
		})
	}
}

// A ban is in force on every node within a second.
func TestBanIsInForceOnEveryNodeWithinASecond(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	nodes := []*node{open(t, s, nil), open(t, s, nil), open(t, s, nil)}
	ready(t, nodes...)
	heard := make(chan time.Time, 2)
	for _, n := range nodes[1:] {
		n.OnBans = func([]names.Ban) { heard <- time.Now() }
	}
	begin := time.Now()
	if _, err := nodes[0].Ban(names.Ban{Kind: names.BanIdentity, Of: strings.Repeat("a", 32)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case at := <-heard:
			t.Log("after", at.Sub(begin))
		case <-time.After(time.Minute):
			t.Fatal("a node does not hear of it")
		}
	}
	for i, n := range nodes {
		if n.CountBans(names.BanIdentity) != 1 {
			t.Errorf("not in force on node %d", i)
		}
	}
}

// A node gets to etcd by TLS with a password, and needs no more than all below its
// prefix. Whoever it is, it says what is wrong with that.
func TestEtcdWithTLSAndPasswords(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	cert, key := ca.Files(t.TempDir(), "127.0.0.1")
	s := etcd.Start(t, func(cfg *embed.Config) {
		cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = cert, key
		cfg.BcryptCost = 4
	})
	trust := &tls.Config{RootCAs: ca.Pool()}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL()}, TLS: trust, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(c.UserAdd(ctx, "root", "root"))
	do(c.UserGrantRole(ctx, "root", "root"))
	for name, kind := range map[string]clientv3.PermissionType{"relay": clientv3.PermissionType(clientv3.PermReadWrite), "reader": clientv3.PermissionType(clientv3.PermRead)} {
		do(c.UserAdd(ctx, name, "secret"))
		do(c.RoleAdd(ctx, name))
		do(c.RoleGrantPermission(ctx, name, "one/", clientv3.GetPrefixRangeEnd("one/"), kind))
		do(c.UserGrantRole(ctx, name, name))
	}
	do(c.AuthEnable(ctx))

	answer := time.Minute
	as := func(user, password, prefix string, tls *tls.Config) *node {
		return open(t, s, func(cfg *record.Config) {
			cfg.Username, cfg.Password, cfg.Prefix, cfg.TLS, cfg.AnswerTime = user, password, prefix, tls, answer
		})
	}
	n := as("relay", "secret", "one", trust)
	ready(t, n)
	if err := n.claim(newKey(), "a.relay.test"); err != nil {
		t.Error(err)
	}
	fill(t, n.Names, 120) // more than a transaction takes one by one, and a large one in the end
	var token string
	if list, err := n.ListTokens(); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	} else {
		token = list[0].ID
	}
	if _, err := n.RevokeToken(token, true); err != nil {
		t.Error(err)
	}
	if err := n.record.Upkeep(nil); err != nil {
		t.Error(err)
	}
	listed := make(chan struct{})
	announced, end := context.WithCancel(ctx)
	go n.record.Nodes().Announce(announced, "n", nil)
	n.record.Nodes().Announced(func(all map[string][]byte) {
		if _, ok := all["n"]; ok {
			close(listed)
		}
	})
	<-listed
	end()

	answer = 0 // some of these wait for nothing else
	for what, wrong := range map[string]*node{
		"a wrong password":                as("relay", "wrong", "one", trust),
		"another prefix":                  as("relay", "secret", "two", trust),
		"a user who may only read":        as("reader", "secret", "three", trust),
		"nobody":                          as("", "", "one", trust),
		"a certificate that nobody knows": as("relay", "secret", "one", &tls.Config{RootCAs: testca.New(t).Pool()}),
	} {
		waitFor(t, what+" is explained", func() bool {
			err := wrong.record.Whole()
			return errors.Is(err, names.ErrClosed) && len(hint.All(err)) > 0
		})
		t.Logf("%s: %v", what, wrong.record.Whole())
	}
}
