package config

import (
	"fmt"
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
	} else if name, base := f.elsewhere(key.Value, path, schema); name != "" {
		advice = "did you mean " + written(name) + "?"
		if base != path {
			advice = "did you mean " + written(name) + " at the top of the file?"
		}
		if !strings.Contains(name, "[]") {
			f.faulty[join(base, name)] = true
		}
	}
	f.add(key, at, "unknown key "+quote(key.Value), advice)
}

// elsewhere returns the name of a key that ends with word, and where it begins: rather
// below path, whose schema that is, than at the top, and rather one that is not in a
// list of maps. It is "" where there is none.
func (f *file) elsewhere(word, path, schema string) (name, base string) {
	for _, at := range []struct{ path, schema string }{{path, schema}, {}} {
		list := ""
		for _, k := range f.keys {
			name, ok := k.Name, true
			if at.schema != "" {
				name, ok = strings.CutPrefix(k.Name, at.schema+".")
			}
			switch {
			case !ok || name != word && !strings.HasSuffix(name, "."+word):
			case !strings.Contains(name, "[]"):
				return name, at.path
			case list == "":
				list = name
			}
		}
		if list != "" {
			return list, at.path
		}
	}
	return "", ""
}

// written returns a key as it is written in a file, as in tokens: [{names: …}].
func written(name string) string {
	text, end := "", ""
	for i, level := range strings.Split(name, ".") {
		if i > 0 {
			text, end = text+"{", "}"+end
		}
		word, list := strings.CutSuffix(level, "[]")
		text += word + ": "
		if list {
			text, end = text+"[", "]"+end
		}
	}
	return text + "…" + end
}
