package cli_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"keystay/internal/cli"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// There is a page for what people run, not for each shell that completes it.
func TestManPagesAreForWhatPeopleRun(t *testing.T) {
	dir := t.TempDir()
	cmd := cli.Root(&cobra.Command{Use: "relay", Short: "A relay", Run: func(*cobra.Command, []string) {}})
	cmd.SetArgs([]string{"man", dir})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for i := range pages {
		pages[i] = filepath.Base(pages[i])
	}
	if want := []string{"relay-version.1", "relay.1"}; !slices.Equal(pages, want) {
		t.Errorf("pages %q, want %q", pages, want)
	}
}
