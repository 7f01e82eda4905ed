package cli

import (
	"bytes"
	"encoding/json"
	"maps"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/spf13/cobra"
)

// The linker's word about the commit goes before that of go build, and none is made up.
func TestBuildSaysItsCommitAndHowItWasMade(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "-trimpath", Value: "true"}, {Key: "CGO_ENABLED", Value: "0"},
		{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026"}, {Key: "vcs.modified", Value: "true"}}}
	for _, test := range []struct {
		linked         string
		info           *debug.BuildInfo
		commit, source string
	}{
		{"", nil, "", sourceUnknown},
		{"", &debug.BuildInfo{}, "", sourceUnknown},
		{"", info, "abc", sourceModified},
		{"", &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "false"}}}, "abc", sourceClean},
		{"def", info, "def", sourceClean},
		{"def-dirty", nil, "def", sourceModified},
	} {
		b := buildOf("relay", test.linked, test.info)
		if b.Commit != test.commit || b.Source != test.source {
			t.Errorf("%q, %v: %+v", test.linked, test.info, b)
		}
		if want := map[string]string{"-trimpath": "true", "CGO_ENABLED": "0"}; test.info == info && !maps.Equal(b.Flags, want) {
			t.Errorf("flags %v", b.Flags)
		}
	}
}

func TestVersionForProgramsIsJSON(t *testing.T) {
	var out bytes.Buffer
	cmd := Root(&cobra.Command{Use: "relay", Short: "A relay", Run: func(*cobra.Command, []string) {}})
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"version", "--json"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	var got build
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if got.Program != "relay" || got.Version == "" || got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH ||
		got.Source == "" || got.Flags == nil {
		t.Errorf("got %s", &out)
	}
	out.Reset()
	cmd.SetArgs([]string{"version", "--json=false"})
	if err := cmd.Execute(); err != nil || out.String() != "relay "+Version()+"\n" {
		t.Errorf("got %v, %q", err, &out)
	}
}
