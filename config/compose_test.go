package config_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The containers of several nodes are configured as a relay takes it, and fit together:
// each node has a name and an address of its own, and all have the same etcd.
func TestComposeFileOfNodesIsTaken(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "deploy", "cluster", "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]struct {
			Environment map[string]string
			Ports       []string
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	inFolder(t, map[string]string{"cert": "x", "key": "x"})
	var nodes, ports, members, initial, endpoints []string
	for name, s := range file.Services {
		if _, ok := file.Volumes[name]; !ok {
			t.Errorf("%s has no volume", name)
		}
		if member, ok := s.Environment["ETCD_NAME"]; ok {
			if member != name || !strings.Contains(s.Environment["ETCD_ADVERTISE_CLIENT_URLS"], name+":") {
				t.Errorf("%s: %v", name, s.Environment)
			}
			members = append(members, s.Environment["ETCD_ADVERTISE_CLIENT_URLS"])
			initial = append(initial, s.Environment["ETCD_INITIAL_CLUSTER"])
			if !strings.Contains(initial[0], name+"="+s.Environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"]) {
				t.Errorf("%s is not in %s", name, initial[0])
			}
			continue
		}
		for key, value := range s.Environment {
			switch {
			case strings.HasPrefix(value, "/tls/"):
				value = map[bool]string{true: "key", false: "cert"}[strings.Contains(key, "KEY_FILE")]
			case strings.Contains(value, "${DOMAIN"):
				value = "relay.net"
			case strings.Contains(value, "${"):
				value = ""
			}
			t.Setenv(key, value)
		}
		r, _, err := loadRelay(t, "--state-dir", "state")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if host, _, _ := net.SplitHostPort(r.Cluster.Address); host != name {
			t.Errorf("%s is reached at %s", name, r.Cluster.Address)
		}
		nodes, ports, endpoints = append(nodes, r.Cluster.Node), append(ports, s.Ports...), r.Cluster.Etcd.Endpoints
	}
	for _, list := range [][]string{nodes, ports} {
		if n := len(list); len(slices.Compact(slices.Sorted(slices.Values(list)))) != n {
			t.Errorf("one is there twice: %q", list)
		}
	}
	slices.Sort(members)
	if len(nodes) != 3 || len(members) != 3 || !slices.Equal(members, endpoints) || len(slices.Compact(initial)) != 1 {
		t.Errorf("nodes %q, members %q, endpoints %q", nodes, members, endpoints)
	}
}
