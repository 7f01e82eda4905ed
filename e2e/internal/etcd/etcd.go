// Package etcd runs etcd in the test process.
package etcd

import (
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// A Server is one etcd without others, on a loopback port that stays its own.
type Server struct {
	t    testing.TB
	cfg  *embed.Config
	etcd *embed.Etcd // nil while it is stopped
	addr string
}

// Start starts an etcd that keeps its data for the test, and ends it with that. set may
// change its configuration, and be nil.
func Start(t testing.TB, set func(*embed.Config)) *Server {
	t.Helper()
	s := &Server{t: t, cfg: embed.NewConfig()}
	s.cfg.Dir = t.TempDir()
	s.cfg.UnsafeNoFsync = true
	s.cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	any, _ := url.Parse("http://127.0.0.1:0")
	s.cfg.ListenClientUrls, s.cfg.ListenPeerUrls = []url.URL{*any}, []url.URL{*any}
	s.cfg.AdvertiseClientUrls, s.cfg.AdvertisePeerUrls = []url.URL{*any}, []url.URL{*any}
	s.cfg.InitialCluster = s.cfg.InitialClusterFromName(s.cfg.Name)
	s.cfg.TickMs, s.cfg.ElectionMs = 20, 200
	if set != nil {
		set(s.cfg)
	}
	t.Cleanup(s.Stop)
	s.Run()
	return s
}

// Run starts it again after Stop, on the same port.
func (s *Server) Run() {
	s.t.Helper()
	e, err := embed.StartEtcd(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.etcd = e
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(time.Minute):
		s.t.Fatal("etcd does not start")
	}
	s.addr = e.Clients[0].Addr().String()
	s.cfg.ListenClientUrls[0].Host = s.addr
	s.cfg.ClusterState = embed.ClusterStateFlagExisting
}

// Stop stops it; what it has stays. A second call does nothing.
func (s *Server) Stop() {
	if s.etcd != nil {
		s.etcd.Server.HardStop() // else it waits for those who are connected
		s.etcd.Close()
		s.etcd = nil
	}
}

// URL is where clients find it.
func (s *Server) URL() string { return s.cfg.ListenClientUrls[0].Scheme + "://" + s.addr }
