package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	relaycluster "keystay/relay/cluster"
)

// The certificates of nodes that docs/cluster.md makes with openssl are ones with which
// nodes know each other, each for its own name.
func TestNodesTakeCertificatesOfTheGuide(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```sh\nopenssl req -x509 ")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the guide has no such block")
	}
	dir := t.TempDir()
	openssl := exec.Command("sh", "-ec", "openssl req -x509 "+block)
	openssl.Dir = dir
	if out, err := openssl.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, node := range []string{"zrh", "fra", "waw"} {
		files := relaycluster.Files{CA: file("ca.pem"), Cert: file(node + ".pem"), Key: file(node + ".key")}
		if _, err := relaycluster.LoadCredentials(files, node); err != nil {
			t.Errorf("%s: %v", node, err)
		}
		if _, err := relaycluster.LoadCredentials(files, "other"); err == nil {
			t.Errorf("%s: it is taken for another node", node)
		}
	}
	if _, err := relaycluster.ReadRecordKey(file("record.key")); err != nil {
		t.Error(err)
	}
}
