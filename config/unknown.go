package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"keystay/internal/hint"
)

// unknown reports a key that the schema does not have, and what was meant.
func (f *file) unknown(key *yaml.Node, path, schema string) {
	words := f.below(schema)
	advice := "known here: " + strings.Join(words, ", ")
	at := join(path, key.Value)
	if n := hint.Nearest(key.Value, words); n != "" {
		advice = fmt.Sprintf("did you mean %q?", n)
		f.faulty[join(path, n)] = true
	} else if i := slices.IndexFunc(f.keys, func(k Key) bool {
		return k.Name == key.Value || strings.HasSuffix(k.Name, "."+key.Value) && !strings.Contains(k.Name, "[]")
	}); i >= 0 {
		levels := strings.Split(f.keys[i].Name, ".")
		advice = fmt.Sprintf("did you mean %s: …%s?", strings.Join(levels, ": {"), strings.Repeat("}", len(levels)-1))
		f.faulty[f.keys[i].Name] = true
	}
	f.add(key, at, "unknown key "+quote(key.Value), advice)
}
