// Package docs_test holds the documents to the code.
package docs_test

import (
	"flag"
	"os"
	"testing"

	"keystay/config"
)

var update = flag.Bool("update", false, "rewrite reference.md")

// reference is the page, made from the keys.
func reference() string {
	return `# Reference of all settings

<!-- Made from package config: go test ./docs -update -->

A flag counts before the environment, the environment before the file, the file before the default.
Lists have commas in flags and variables. An empty variable counts as not set.
A setting that is not here is not built yet: giving it is an error.

## relay

Keys are those of ` + "`relay.yaml`" + `; [deploy/relay.yaml](../deploy/relay.yaml) has them all with comments.

` + config.Reference(config.RelayKeys()) + `
## remote

Keys are those of ` + "`remote.yaml`" + `; [deploy/remote.yaml](../deploy/remote.yaml) has them all with comments.
Where a file says what is published, no flag or variable of a service may. Arguments stand for ` + "`--local`" + `.

` + config.Reference(config.RemoteKeys())
}

func TestReferenceIsCurrent(t *testing.T) {
	const file = "reference.md"
	want := reference()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: go test ./docs -update", file)
	}
}
