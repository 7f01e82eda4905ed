package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keystay/config"
)

// noCluster is what a relay on one machine has.
func noCluster() config.Cluster {
	return config.Cluster{Etcd: config.Etcd{Endpoints: []string{}, Prefix: "keystay"}, Listen: ":9441", Weight: 100}
}

// A relay on several machines says what it needs, with the key; on one machine nothing of
// it is looked at.
func TestClusterIsChecked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password", "secret\n")
	write("lines", "one\ntwo\n")
	load := func(text string) (*config.Relay, []config.Warning, error) {
		t.Helper()
		write("relay.yaml", "domain: relay.test\ncluster: "+text+"\n")
		return loadRelay(t, "--config", filepath.Join(dir, "relay.yaml"))
	}
	const whole = `{etcd: {endpoints: ["https://10.0.0.1:2379"], username: u, password_file: password}, node: fra1, address: "10.0.0.1:9441", region: eu, weight: 0}`
	r, _, err := load(whole)
	if err != nil || !r.Cluster.On() || r.Cluster.Weight != 0 || r.Cluster.Etcd.Password != "secret" || r.Cluster.Listen != ":9441" {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, _, err := load(`{node: "not looked at"}`); err != nil || r.Cluster.On() {
		t.Errorf("%+v, %v", r, err)
	}
	const with = `etcd: {endpoints: ["http://127.0.0.1:2379"]}, node: a, address: "10.0.0.1:9441"`
	for text, want := range map[string]string{
		`{etcd: {endpoints: ["http://127.0.0.1:2379"]}}`:                                                  "cluster.address: missing",
		`{etcd: {endpoints: ["http://127.0.0.1:2379"]}, address: "10.0.0.1:9441"}`:                        "cluster.node: missing",
		`{etcd: {endpoints: ["10.0.0.1:2379"]}, node: a, address: "10.0.0.1:9441"}`:                       "is no member of etcd",
		`{etcd: {endpoints: ["https://u:p@10.0.0.1:2379"]}, node: a, address: "10.0.0.1:9441"}`:           "is no member of etcd",
		`{etcd: {endpoints: ["https://10.0.0.1"]}, node: a, address: "10.0.0.1:9441"}`:                    `did you mean "https://10.0.0.1:2379"?`,
		`{etcd: {endpoints: ["https://10.0.0.1:2379"], username: u}, node: a, address: "10.0.0.1:9441"}`:  "username and password_file go together",
		`{etcd: {endpoints: ["https://10.0.0.1:2379"], cert_file: c}, node: a, address: "10.0.0.1:9441"}`: "cert_file and key_file go together",
		`{etcd: {endpoints: ["http://[::1]:2379"], prefix: " "}, node: a, address: "10.0.0.1:9441"}`:      "begins no keys",
		`{etcd: {endpoints: ["http://127.0.0.1:2379"]}, node: A_, address: "10.0.0.1:9441"}`:              "is no name of a node",
		`{etcd: {endpoints: ["http://127.0.0.1:2379"]}, node: a, address: ":9441"}`:                       "names no host",
		`{etcd: {endpoints: ["http://127.0.0.1:2379"]}, node: a, address: "0.0.0.0:9441"}`:                "leads nowhere from another machine",
		`{` + with + `, public: "x"}`:              "cluster.public",
		`{` + with + `, region: "a b"}`:            "is no region",
		`{` + with + `, weight: 1001}`:             "cluster.weight",
		`{` + with + `, listen: ":443"}`:           "is in listen[0] too",
		`{` + with + `, tls: {ca_file: password}}`: "ca_file, cert_file and key_file go together",
		`{` + with + `, record_key_file: missing}`: "cannot read",
		`{etcd: {endpoints: ["http://127.0.0.1:2379"], username: u, password_file: lines}, node: a, address: "10.0.0.1:9441"}`: "does not hold one line",
	} {
		if _, _, err := load(text); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(strings.Join(hints(err), "\n"), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	_, warnings, err := load(`{etcd: {endpoints: ["http://10.0.0.1:2379"]}, node: a, address: "10.0.0.1:9441"}`)
	if err != nil || !told(warnings, "is reached without TLS") {
		t.Errorf("%v, %v", warnings, err)
	}
	if _, warnings, _ := load(`{` + with + `}`); told(warnings, "is reached without TLS") {
		t.Error("etcd on this machine is warned of")
	}
}

// hints are those of all mistakes.
func hints(err error) (all []string) {
	list, _ := err.(config.Errors)
	for _, e := range list {
		all = append(all, e.Hints...)
	}
	return all
}

func told(list []config.Warning, part string) bool {
	for _, w := range list {
		if strings.Contains(w.Message, part) {
			return true
		}
	}
	return false
}
