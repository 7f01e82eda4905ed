package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"keystay/config"
	"keystay/relay"
	"keystay/relay/cluster"
	"keystay/relay/names"
)

// nowhere is a list of nodes without any.
type nowhere struct{}

func (nowhere) Announce(ctx context.Context, _ string, _ []byte) error { <-ctx.Done(); return nil }
func (nowhere) Announced(f func(map[string][]byte))                    { f(nil) }

// clustered is the configuration of a node.
func clustered(t *testing.T) *config.Relay {
	t.Helper()
	cfg := &config.Relay{Domain: "relay.test", StateDir: t.TempDir()}
	cfg.Cluster = config.Cluster{Etcd: config.Etcd{Endpoints: []string{"http://127.0.0.1:1"}}, Node: "a", Address: "10.0.0.1:9441", Region: "eu", Weight: 100}
	return cfg
}

// A relay on one machine is no node; one on several needs a certificate, and says how to
// get one.
func TestNodeNeedsACertificate(t *testing.T) {
	if n, err := openNode(&config.Relay{}, nil, slog.New(slog.DiscardHandler)); n != nil || err != nil {
		t.Errorf("%v, %v", n, err)
	}
	cfg := clustered(t)
	if _, err := openNode(cfg, nowhere{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "no node's certificate yet") {
		t.Errorf("opened with %v", err)
	}
	if err := nodeDir(cfg).Init("b"); err != nil {
		t.Fatal(err)
	}
	if _, err := openNode(cfg, nowhere{}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "it is not for node a") {
		t.Errorf("opened with the certificate of another: %v", err)
	}
}

// Each process of a node has a higher epoch than the one before, whatever the clock says,
// and also where the file is lost.
func TestEpochsGrow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cluster", "epoch")
	first, err := nextEpoch(file)
	if err != nil || first < uint64(time.Now().Add(-time.Hour).Unix()) {
		t.Fatalf("%d, %v", first, err)
	}
	if next, _ := nextEpoch(file); next <= first {
		t.Errorf("%d is followed by %d", first, next)
	}
	const ahead = 1 << 40 // of a clock that was wrong
	if err := os.WriteFile(file, []byte(strconv.Itoa(ahead)), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, _ := nextEpoch(file); next != ahead+1 {
		t.Errorf("%d is followed by %d", ahead, next)
	}
	if err := os.WriteFile(file, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if next, err := nextEpoch(file); err != nil || next < first {
		t.Errorf("after a broken file: %d, %v", next, err)
	}
}

// A cut is told to the other nodes as well as to the old process of a takeover, and one
// of theirs to the old process alone: each OnCut goes on to what was there before.
func TestCutsGoToTheOldProcessToo(t *testing.T) {
	cfg := clustered(t)
	if err := nodeDir(cfg).Init("a"); err != nil {
		t.Fatal(err)
	}
	n, err := openNode(cfg, nowhere{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	old := 0
	srv := &relay.Server{Domain: "relay.test", OnCut: func(relay.Cut) { old++ }}
	n.attach(srv, nil)
	srv.OnCut(relay.Cut{Name: "a.relay.test"})
	srv.OnCut(relay.Cut{Name: "a.relay.test", Elsewhere: true})
	if old != 2 {
		t.Errorf("the old process hears of %d cuts", old)
	}
	if srv.Nodes == nil || srv.OnPresence == nil {
		t.Error("the server does not know the nodes")
	}
}

// The CA invites to the address of its node; another node does not.
func TestInvitationLeadsToTheNode(t *testing.T) {
	cfg := clustered(t)
	if err := nodeDir(cfg).Init("a"); err != nil {
		t.Fatal(err)
	}
	n, err := openNode(cfg, nowhere{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	made, err := n.Invite()
	if err != nil {
		t.Fatal(err)
	}
	v, err := cluster.ParseInvite(made.Invitation)
	if err != nil || v.Address != cfg.Cluster.Address || time.Until(made.Until) > cluster.InviteTime {
		t.Errorf("%+v, %v", v, err)
	}
	n.Authority = nil
	if _, err := n.Invite(); err == nil {
		t.Error("a node that is not the CA invites")
	}
}

// Two processes of one node do not share a state directory, but for a takeover, in which
// the old one lets go.
func TestStateDirectoryIsOneProcess(t *testing.T) {
	dir := t.TempDir()
	first, err := lockState(dir, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockState(dir, time.Millisecond); !errors.Is(err, names.ErrInUse) {
		t.Errorf("a second process: %v", err)
	}
	first.pause()
	second, err := lockState(dir, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.resume(); !errors.Is(err, names.ErrInUse) {
		t.Errorf("the old process comes back: %v", err)
	}
	second.pause()
	if err := first.resume(); err != nil {
		t.Error(err)
	}
	first.pause()
}
