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
	} else if word := foreignKeys[strings.ToLower(key.Value)]; word != "" && slices.Contains(words, word) {
		advice = fmt.Sprintf("did you mean %q?", word)
		f.faulty[join(path, word)] = true
	} else if name, base := f.elsewhere(key.Value, path, schema); name != "" {
		advice = "did you mean " + written(name) + "?"
		if base != path {
			advice = "did you mean " + written(name) + " at the top of the file?"
		}
		if !strings.Contains(name, "[]") {
			f.faulty[join(base, name)] = true
		}
	}
	if path == "" && strings.HasPrefix(advice, "known here") {
		advice = f.otherFile(key.Value, advice)
	}
	f.add(key, at, "unknown key "+quote(key.Value), advice)
}

// foreignKeys are words of other programs, and of whoever guesses, for keys of a service.
var foreignKeys = map[string]string{
	"port": "local", "target": "local", "upstream": "local", "backend": "local", "url": "local", "addr": "local",
	"host": "domain", "hostname": "domain", "subdomain": "name", "auth": "gate", "password": "passwords",
}

// otherFile says that a key at the top is one of the other program's file, or returns
// advice.
func (f *file) otherFile(word, advice string) string {
	name, other := "relay.yaml, the file of relay --config", relayFileKeys()
	if f.keys[0].Name != "services" {
		name, other = "remote.yaml, the file of remote --config", remoteFileKeys()
	}
	if slices.Contains((&file{keys: other}).below(""), word) {
		return "that is a key of " + name
	}
	return advice
}

// plainWord returns a key without what people write otherwise: small letters alone.
func plainWord(key string) string {
	return strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(key))
}

// elsewhere returns the name of a key that ends with word, and where it begins: rather
// below path, whose schema that is, than at the top, and rather one that is not in a
// list of maps. It is "" where there is none.
func (f *file) elsewhere(word, path, schema string) (name, base string) {
	if word == "" {
		return "", ""
	}
	for _, at := range []struct{ path, schema string }{{path, schema}, {}} {
		list := ""
		for _, k := range f.keys {
			name, ok := k.Name, true
			if at.schema != "" {
				name, ok = strings.CutPrefix(k.Name, at.schema+".")
			}
			group := "." + word + "."
			if i := strings.Index("."+name, group); ok && i > 0 && !strings.HasSuffix(name, "."+word) {
				name = name[:i+len(word)] // the map of that name, and not what is in it
			}
			switch {
			case !ok || name != word && plainWord(name) != plainWord(word) && k.Flag != word && !strings.HasSuffix(name, "."+word):
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
