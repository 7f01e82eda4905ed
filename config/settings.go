package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// A Setting is what one key is in effect, and where it was said.
type Setting struct {
	// Key is the key's path, as in "log.level" or "tokens[0].names".
	Key string

	// Value is what was said, the parts of a list with commas between them; of a
	// secret it is "[redacted]".
	Value string

	// From is the flag or the variable that says it, the name of the file, or
	// "default".
	From string

	// Line is the line of the file, from 1, or 0 where it was not the file.
	Line int
}

// settings returns every key with its value, in the order of the keys; the members of
// a list of maps in the list's order.
func (s *source) settings() (list []Setting) {
	for _, k := range s.keys {
		name := strings.ReplaceAll(k.Name, ".", delimiter)
		switch {
		case strings.Contains(k.Name, "[]"): // with its table
		case k.Kind == Table:
			rows, _ := s.viper.Get(name).([]any)
			for i, row := range rows {
				list = append(list, s.row(k, i, row)...)
			}
		case k.Kind == List:
			list = append(list, s.setting(k, k.Name, strings.Join(s.viper.GetStringSlice(name), ", ")))
		default:
			list = append(list, s.setting(k, k.Name, s.viper.GetString(name)))
		}
	}
	return list
}

// row returns the members of one map of a list of maps that are given.
func (s *source) row(table Key, i int, row any) (list []Setting) {
	values, _ := row.(map[string]any)
	for _, k := range s.keys {
		member, ok := strings.CutPrefix(k.Name, table.Name+"[].")
		if !ok || values[member] == nil {
			continue
		}
		parts, ok := values[member].([]any)
		if !ok {
			parts = []any{values[member]}
		}
		words := make([]string, len(parts))
		for j, part := range parts {
			words[j] = fmt.Sprint(part)
		}
		list = append(list, s.setting(k, fmt.Sprintf("%s[%d].%s", table.Name, i, member), strings.Join(words, ", ")))
	}
	return list
}

// written reports whether the file has the key at path itself, and not only one
// above it.
func (s *source) written(path string) bool {
	_, ok := s.file.places[path]
	return ok
}

func (s *source) setting(k Key, path, value string) Setting {
	if k.Secret && value != "" {
		value = Secret(value).String()
	}
	from, at := s.origin(path)
	if from == "" || s.inFile(path) && !s.written(path) {
		from, at = "default", place{}
	}
	return Setting{Key: path, Value: value, From: from, Line: at.line}
}

// RelayStateDir returns the state directory of the relay that flags, environment and
// file describe, whatever else is wrong with the file: so that a relay that runs can
// be asked while its file is being edited. A file that cannot be read gives [Errors].
func RelayStateDir(fs *pflag.FlagSet) (string, error) {
	f := relayFile(fs)
	if f != nil && f.values == nil {
		return "", f.errs.sorted(f.name)
	}
	src, err := newSource(relayFileKeys(), fs, f)
	if err != nil {
		return "", err
	}
	dir := src.viper.GetString("state_dir")
	src.resolve("state_dir", &dir)
	return dir, nil
}

// RemoteStateFlags adds the flags that say which remote is meant, of those that run
// here: that with this file, or with this state directory. See [RemoteStateDir].
func RemoteStateFlags(fs *pflag.FlagSet) {
	for _, k := range RemoteKeys() {
		if k.Name == "config" || k.Name == "state_dir" {
			register(fs, []Key{k})
		}
	}
}

// RemoteStateDir returns the state directory of the remote that flags, environment and
// file describe, whatever else is wrong with the file. A file that cannot be read gives
// [Errors].
func RemoteStateDir(fs *pflag.FlagSet) (string, error) {
	dir, src, err := stateSaid(fs)
	if err != nil {
		return "", err
	}
	var wrong Errors
	wrong.stateDir(&dir)
	return dir, finish(src, nil, wrong, "")
}

// stateSaid returns the state directory that flags, environment and file say, or "".
func stateSaid(fs *pflag.FlagSet) (dir string, src *source, err error) {
	var f *file
	if name := RemoteFile(fs); name != "" {
		if f = readFile(name, remoteFileKeys()); f.values == nil {
			return "", nil, f.errs.sorted(f.name)
		}
	}
	if src, err = newSource(remoteFileKeys(), fs, f); err != nil {
		return "", nil, err
	}
	dir = src.text("state_dir")
	src.resolve("state_dir", &dir)
	return dir, src, nil
}
