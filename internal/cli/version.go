package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What the linker sets, as in -X keystay/internal/cli.version=v1.2.3. The commit is a
// whole hash, with -dirty behind it where files were changed.
var version, commit string

// Version is the version that this program was built as.
func Version() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "devel"
}

// What the source that was built has to do with its commit.
const (
	sourceClean    = "clean"    // it is the commit's
	sourceModified = "modified" // files were changed
	sourceUnknown  = "unknown"  // nobody said
)

// A build is what "version --json" prints: with it others can make the same bytes.
type build struct {
	Program  string            `json:"program"`
	Version  string            `json:"version"`
	Commit   string            `json:"commit"` // "" where it is not known
	Source   string            `json:"source"`
	Go       string            `json:"go"`
	Platform string            `json:"platform"` // GOOS/GOARCH
	Flags    map[string]string `json:"flags"`    // of go build, and its variables
}

// buildOf returns what the program with that name was built from. The commit is the one
// that the linker has set, or else the one that go build has found by itself.
func buildOf(name, linked string, info *debug.BuildInfo) build {
	b := build{Program: name, Version: Version(), Source: sourceUnknown,
		Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Flags: map[string]string{}}
	if info != nil {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				b.Commit = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				b.Source = sourceModified
			case s.Key == "vcs.modified":
				b.Source = sourceClean
			case !strings.HasPrefix(s.Key, "vcs"):
				b.Flags[s.Key] = s.Value
			}
		}
	}
	if linked != "" {
		hash, modified := strings.CutSuffix(linked, "-dirty")
		b.Commit, b.Source = hash, sourceClean
		if modified {
			b.Source = sourceModified
		}
	}
	return b
}

// versionCommand makes the command of the program with that name.
func versionCommand(name string) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Prints the version. With --json also what the program was built from: the commit (""
where it is not known), whether the source was that of the commit (clean, modified or
unknown), Go, platform, and the flags of go build.`,
		Example: "  " + name + " version\n  " + name + " version --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !asJSON {
				_, err := fmt.Fprintf(c.OutOrStdout(), "%s %s\n", name, Version())
				return err
			}
			info, _ := debug.ReadBuildInfo()
			return WriteJSON(c.OutOrStdout(), buildOf(name, commit, info))
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print what it was built from, for programs")
	return c
}
