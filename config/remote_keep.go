package config

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A Kept is what flags, variables and arguments say, as a file: for a run that gets none
// of them.
type Kept struct {
	// YAML is the file. It may hold secrets, but not the token.
	YAML []byte

	// Token is what is to be written to the file that YAML names for it, or empty.
	Token Secret
}

// pathKeys are the keys of files and folders, outside services.
var pathKeys = []string{"relay_root", "token_file", "acme.root"}

// KeepRemote returns what [LoadRemote] has read without a file, as a file that says the
// same wherever it lies: its paths are absolute. Its state_dir is stateDir, and tokenFile
// is named where a token was given as such. The caller has called LoadRemote, which has
// found no mistake.
func KeepRemote(fs *pflag.FlagSet, args []string, stateDir, tokenFile string) (Kept, error) {
	src, err := newSource(remoteFileKeys(), fs, nil)
	if err != nil {
		return Kept{}, err
	}
	var kept Kept
	services, err := keptServices(src, args)
	if err != nil {
		return Kept{}, err
	}
	all := &yaml.Node{Kind: yaml.MappingNode}
	put(all, "services", services)
	put(all, "state_dir", stateDir)
	for _, k := range src.keys {
		if k.isMember() || k.Kind == Table || k.Name == "state_dir" || !src.isSet(k.Name) {
			continue
		}
		switch {
		case k.Name == "token":
			kept.Token = Secret(src.text(k.Name))
			put(all, "token_file", tokenFile)
		case k.Kind == Lines:
			put(all, k.Name, src.lines(k.Name))
		case k.isList():
			put(all, k.Name, src.list(k.Name))
		case k.Kind == Switch:
			put(all, k.Name, src.text(k.Name) == "true")
		case slices.Contains(pathKeys, k.Name):
			path, err := absolute(src.text(k.Name))
			if err != nil {
				return Kept{}, err
			}
			put(all, k.Name, path)
		default:
			put(all, k.Name, src.text(k.Name))
		}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(all); err != nil {
		return Kept{}, fmt.Errorf("write the settings: %w", err)
	}
	kept.YAML = b.Bytes()
	return kept, e.Close()
}

// keptServices are the services that flags, variables and arguments make.
func keptServices(src *source, args []string) (*yaml.Node, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	reader := &serviceReader{src: src, remote: &Remote{}}
	for _, b := range reader.flagServices(args) {
		one := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range []string{"domain", "name"} {
			if b.has(key) {
				put(one, key, b.list(key))
			}
		}
		local := b.text("local")
		if l, err := ParseLocal(local); err == nil && l.Kind == LocalFolder {
			local = l.Folder // which is absolute
		}
		for key, value := range map[string]string{"local": local, "tcp": b.text("tcp")} {
			if b.has(key) {
				put(one, key, value)
			}
		}
		if b.has("host_header") {
			put(one, "host_header", b.text("host_header"))
		}
		for _, key := range []string{"allow", "deny"} {
			if b.has(key) {
				put(one, key, b.list(key))
			}
		}
		gate := b.group("gate")
		if gate.has("passwords") {
			put(one, "gate.passwords", gate.list("passwords"))
		}
		for _, file := range []struct {
			key, path string
		}{{"gate.password_file", gate.text("password_file")}, {"cert", b.text("cert")}, {"key", b.text("key")}} {
			if file.path == "" {
				continue
			}
			path, err := absolute(file.path)
			if err != nil {
				return nil, err
			}
			put(one, file.key, path)
		}
		list.Content = append(list.Content, one)
	}
	return list, nil
}

// absolute returns the whole path of what is named on the command line.
func absolute(path string) (string, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("the whole path of %s: %w", quote(path), err)
	}
	return whole, nil
}

// put adds a value to a map, in the maps of the key's levels.
func put(to *yaml.Node, key string, value any) {
	for {
		level, rest, deeper := strings.Cut(key, ".")
		if !deeper {
			break
		}
		to, key = within(to, level), rest
	}
	var v yaml.Node
	if n, ok := value.(*yaml.Node); ok {
		v = *n
	} else {
		_ = v.Encode(value) // texts, lists of them and switches can be
	}
	to.Content = append(to.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &v)
}

// within returns the map at a key of another, which it makes if need be.
func within(m *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	in := &yaml.Node{Kind: yaml.MappingNode}
	m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, in)
	return in
}

// SaidBesideFile returns the flags and variables that say something beside a file, but
// where its state is.
func SaidBesideFile(fs *pflag.FlagSet) (said []string) {
	for _, k := range RemoteKeys() {
		switch {
		case k.Name == "config" || k.Name == "state_dir":
		case k.Flag != "" && fs.Changed(k.Flag):
			said = append(said, "--"+k.Flag)
		case k.Env != "" && os.Getenv(k.Env) != "":
			said = append(said, k.Env)
		}
	}
	return said
}

// RemoteStateSaid is [RemoteStateDir] without a default: empty where nobody says which it
// is. The path is whole.
func RemoteStateSaid(fs *pflag.FlagSet) (string, error) {
	dir, _, err := stateSaid(fs)
	if err != nil || dir == "" {
		return "", err
	}
	return absolute(dir)
}

// StateDirOf returns the state directory of the user with that home, where none is given.
func StateDirOf(goos, home string) (string, error) {
	return stateDir(goos, func(name string) string {
		if name == "LocalAppData" {
			return filepath.Join(home, "AppData", "Local")
		}
		return ""
	}, func() (string, error) { return home, nil })
}
