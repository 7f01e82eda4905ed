package remote_test

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keystay/framing"
	"keystay/remote"
)

// filesOf returns what is in a folder, with what each file holds.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func deviceConfig(cfg remote.Config) remote.DeviceConfig {
	return remote.DeviceConfig{StateDir: cfg.StateDir, Relays: cfg.Relays, RelayAddresses: cfg.RelayAddresses, RelayRoots: cfg.RelayRoots, Proxy: cfg.Proxy, Version: cfg.Version}
}

// A link that is tried changes nothing, and takes nothing from a run that serves.
func TestATriedLinkDisturbsNothing(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	ln := r.listen(cfg)
	if err := wait(t, ln); err != nil {
		t.Fatal(err)
	}
	dc := deviceConfig(cfg)
	o, err := remote.Look(dc, remote.Name{Domain: domain})
	if err != nil || o.Domain != domain || len(o.Routes) != 1 || !slices.Equal(o.Routes[0].Candidates, []string{zone}) {
		t.Fatalf("%+v, %v", o, err)
	}
	tried, err := remote.TryLink(t.Context(), dc, o.Routes[0])
	if err != nil || tried.Relay != zone || !tried.Own || tried.Transport != remote.TransportTLS || tried.Took <= 0 {
		t.Errorf("%+v, %v", tried, err)
	}
	if err := wait(t, ln); err != nil {
		t.Errorf("the run serves no more: %v", err)
	}
	end(ln)
	before := filesOf(t, cfg.StateDir)
	if _, err := remote.TryLink(t.Context(), dc, o.Routes[0]); err != nil {
		t.Error(err)
	}
	if after := filesOf(t, cfg.StateDir); !maps.Equal(before, after) {
		t.Error("the state directory has changed")
	}
	r.set(&framing.Refusal{Code: framing.RefusedBanned, Text: "banned"}, nil)
	if _, err := remote.TryLink(t.Context(), dc, o.Routes[0]); !errors.As(err, new(*framing.Refusal)) {
		t.Errorf("refused: %v", err)
	}
}

// Before the first start there is no identity, and none is made.
func TestALinkIsTriedBeforeTheFirstStart(t *testing.T) {
	r := newRelay(t)
	cfg := r.config()
	cfg.StateDir = filepath.Join(t.TempDir(), "none")
	dc := deviceConfig(cfg)
	dc.Relays = []string{zone}
	o, err := remote.Look(dc, remote.Name{})
	if err != nil || o.Domain != "" || len(o.Routes) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	if tried, err := remote.TryLink(t.Context(), dc, o.Routes[0]); err != nil || tried.Own {
		t.Errorf("%+v, %v", tried, err)
	}
	if _, err := os.Stat(cfg.StateDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state directory was made: %v", err)
	}
	dc.Relays = nil
	if _, err := remote.Look(dc, remote.Name{}); !errors.Is(err, remote.ErrNoRelay) {
		t.Errorf("without a relay: %v", err)
	}
}

// A link that is tried tells which nodes the relay has, and which of them are reached.
func TestATriedLinkTellsOfNodes(t *testing.T) {
	c := newCluster(t, 2)
	c.list = append(c.list, framing.Node{Name: "bad", Address: "192.0.2.1:443", Weight: 100})
	c.change(func(list []framing.Node) { list[1].Weight = 0 })
	cfg := c.config()
	cfg.Relays = []string{zone}
	tried, err := remote.TryLink(t.Context(), deviceConfig(cfg), remote.Route{Candidates: []string{zone}, Addresses: cfg.RelayAddresses})
	if err != nil || len(tried.Nodes) != 3 {
		t.Fatalf("%+v, %v", tried, err)
	}
	bad, n0, n1 := tried.Nodes[0], tried.Nodes[1], tried.Nodes[2]
	if bad.Name != "bad" || bad.Err == nil || !n0.Own || !n0.Takes || n0.RTT <= 0 || n1.Own || n1.Takes || n1.RTT <= 0 {
		t.Errorf("%+v", tried.Nodes)
	}
}
