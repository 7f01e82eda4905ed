package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// delimiter parts the levels of a key inside viper. It is not the dot, since
// names contain dots.
const delimiter = "::"

// source is everything one program was told, joined by viper, and the memory
// of where each part came from.
type source struct {
	keys  []Key
	flags *pflag.FlagSet // nil without flags
	file  *file          // nil without a file
	viper *viper.Viper
}

func newSource(keys []Key, fs *pflag.FlagSet, f *file) (*source, error) {
	s := &source{keys: keys, flags: fs, file: f, viper: viper.NewWithOptions(viper.KeyDelimiter(delimiter))}
	for _, k := range keys {
		if k.outside() == "" {
			continue
		}
		name := strings.ReplaceAll(k.outside(), ".", delimiter)
		if k.Kind != Table {
			s.viper.SetDefault(name, k.value())
		}
		if k.Env != "" {
			if err := s.viper.BindEnv(name, k.Env); err != nil {
				return nil, fmt.Errorf("bind variable: %w", err)
			}
		}
		if flag := s.flag(k); flag != nil {
			if err := s.viper.BindPFlag(name, flag); err != nil {
				return nil, fmt.Errorf("bind flag: %w", err)
			}
		}
	}
	if f != nil {
		if err := s.viper.MergeConfigMap(f.values); err != nil {
			return nil, fmt.Errorf("join file: %w", err)
		}
	}
	return s, nil
}

// flag returns the flag of a key, or nil.
func (s *source) flag(k Key) *pflag.Flag {
	if s.flags == nil || k.Flag == "" {
		return nil
	}
	return s.flags.Lookup(k.Flag)
}

// inFile reports whether the value of the key at path is the file's.
func (s *source) inFile(path string) bool {
	from, _ := s.origin(path)
	return s.file != nil && from == s.file.name
}

// origin returns where the value at path came from, and the best known place
// in the file where it was the file.
func (s *source) origin(path string) (from string, at place) {
	schema := indexes.ReplaceAllString(path, "[]")
	for _, k := range s.keys {
		if !k.isAt(schema) {
			continue
		}
		if flag := s.flag(k); flag != nil && flag.Changed {
			return "--" + k.Flag, place{}
		}
		if k.Env != "" && os.Getenv(k.Env) != "" {
			return k.Env, place{}
		}
	}
	for _, k := range s.keys { // a flag that sets a part of it
		if flag := s.flag(k); flag != nil && flag.Changed && k.isMember() && strings.HasPrefix(k.Name, schema+".") {
			return "--" + k.Flag, place{}
		}
	}
	if s.file == nil {
		return "", place{}
	}
	for p := path; p != ""; p = parent(p) {
		if at, ok := s.file.places[p]; ok {
			return s.file.name, at
		}
	}
	return "", place{}
}

// locate fills in where each problem came from. A problem of a value that the
// file was already told about is dropped: it would be a consequence.
func (s *source) locate(errs Errors) Errors {
	var kept Errors
	for _, e := range errs {
		from, at := s.origin(e.Key)
		if s.file != nil && (from == s.file.name || from == "") && s.file.isFaulty(e.Key) {
			continue
		}
		if from == "" {
			from = s.wanted(e.Key)
		}
		if from == "" || s.file != nil && from == s.file.name {
			e.Message = e.Key + ": " + e.Message // a flag or a variable says it itself
		}
		e.From, e.Line, e.Column = from, at.line, at.column
		kept = append(kept, e)
	}
	return kept
}

// wanted returns where something that nobody said is best said.
func (s *source) wanted(path string) string {
	if s.file != nil {
		return s.file.name
	}
	schema := indexes.ReplaceAllString(path, "[]")
	for _, k := range s.keys {
		if k.isAt(schema) && k.Flag != "" {
			return "--" + k.Flag
		}
	}
	return ""
}

// isAt reports whether a path, with its indexes left out, is one of the key's values,
// or a part of one.
func (k Key) isAt(schema string) bool {
	return schema == k.Name || schema == k.Name+"[]" || k.Kind == Pairs && parent(schema) == k.Name
}

// list returns the value of a key that is a list.
func (s *source) list(key string) []string {
	switch v := s.viper.Get(strings.ReplaceAll(key, ".", delimiter)).(type) {
	case string:
		return splitList(v)
	case []any:
		list := make([]string, len(v))
		for i, one := range v {
			list[i] = fmt.Sprint(one)
		}
		return list
	case []string:
		return v
	}
	return nil
}

// lines returns the values of a flag that may be repeated, or the variable's, or the
// file's.
func (s *source) lines(key string) []string {
	flag := strings.NewReplacer(".", "-", "_", "-").Replace(key)
	if s.flags != nil && s.flags.Changed(flag) {
		if given, ok := s.flags.Lookup(flag).Value.(pflag.SliceValue); ok {
			return given.GetSlice() // GetStringArray has none of one empty text
		}
	}
	switch v := s.viper.Get(strings.ReplaceAll(key, ".", delimiter)).(type) {
	case string:
		if v != "" {
			return []string{v}
		}
	case []any:
		if len(v) > 0 {
			return s.list(key)
		}
	}
	return nil
}

// resolve makes a relative path that was written in the file start at the
// file's folder.
func (s *source) resolve(key string, path *string) {
	if *path != "" && !filepath.IsAbs(*path) && s.inFile(key) {
		*path = filepath.Join(filepath.Dir(s.file.name), *path)
	}
}

// readable reports a file that is named but cannot be opened.
func (e *Errors) readable(key, name string) {
	if name == "" {
		return
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
	case info.IsDir():
		err = errors.New("it is a folder")
	case info.Mode().IsRegular(): // opening a pipe could wait for ever
		var f *os.File
		if f, err = os.Open(name); err == nil {
			f.Close()
		}
	}
	if err != nil {
		e.add(key, fmt.Sprintf("cannot read %s: %v", quote(name), reason(err)), unreadable(name, err)...)
	}
}

// unreadable returns what to do about a file that cannot be read.
func unreadable(name string, err error) []string {
	switch info, statErr := os.Stat(name); {
	case errors.Is(err, ownfile.ErrPipe):
		return hint.FileIsPipe.With("FILE", name)
	case errors.Is(err, os.ErrNotExist):
		if !filepath.IsAbs(name) {
			name, _ = filepath.Abs(name)
		}
		return hint.FileMissing.With("FILE", name)
	case errors.Is(err, os.ErrPermission):
		return hint.FileUnreadable.With("FILE", name)
	case statErr == nil && info.IsDir():
		return hint.FileIsFolder.With("FILE", name)
	}
	return nil
}

// reason is the part of an error of package os that does not repeat the path.
func reason(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// parent returns the path one level up: "a.b[2].c", "a.b[2]", "a.b", "a", "".
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// unknownVariables reports the variables with the program's prefix that are
// no key, in the order of their names.
func unknownVariables(prefix string, keys []Key) Errors {
	var words, tables []string // known ones, in lower case without the prefix
	for _, k := range keys {
		if k.Kind == Table {
			tables = append(tables, k.Name)
		} else if k.Env != "" {
			words = append(words, strings.ToLower(strings.TrimPrefix(k.Env, prefix)))
		}
	}
	var errs Errors
	environ := os.Environ()
	slices.Sort(environ)
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, prefix)
		word := strings.ToLower(rest)
		if !ours || rest == strings.ToUpper(rest) && slices.Contains(words, word) || isServiceVariable(name) {
			continue
		}
		advice := "see --help, or unset it"
		if slices.Contains(tables, word) {
			advice = "this can be set in the file only"
		} else if n := hint.Nearest(word, words); n != "" {
			advice = "did you mean " + prefix + strings.ToUpper(n) + "?"
		}
		errs = append(errs, &Error{From: quoteName(name), Message: "unknown variable", Hints: []string{advice}})
	}
	return errs
}

// quoteName returns the name of a variable, in quotes if it holds anything
// that a name should not.
func quoteName(s string) string {
	if q := quote(s); q != `"`+s+`"` {
		return q
	}
	return s
}

// isServiceVariable reports whether Kubernetes set the variable to describe a
// service of this name: a service called keystay-relay makes it set
// KEYSTAY_RELAY_SERVICE_HOST, KEYSTAY_RELAY_PORT_443_TCP and more in each pod.
func isServiceVariable(name string) bool {
	for _, mark := range []string{"_SERVICE_", "_PORT"} {
		if i := strings.Index(name, mark); i > 0 && os.Getenv(name[:i]+"_SERVICE_HOST") != "" {
			return true
		}
	}
	return false
}
