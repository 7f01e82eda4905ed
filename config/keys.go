package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// A Kind says what a key holds.
type Kind int

// The kinds of keys.
const (
	Text   Kind = iota // one text
	List               // a list of texts; with commas in flags and variables
	Switch             // "true" or "false"
	Table              // a list of maps, which only a file can hold
	Number             // a whole number, or a text
	Lines              // a list of texts that may have commas; a variable holds one
	Texts              // a List for which the file may have one text
	Pairs              // a map of texts by names of any kind, which only a file can hold
)

// A Key describes one thing that can be set. Flags, variables, defaults, help
// and reference pages are all made from these descriptions.
type Key struct {
	// Name is the key's path, as in "log.level". For the members of a list of
	// maps it goes through "[]", as in "tokens[].names", as often as such lists
	// are in each other.
	Name string

	// Kind is what the key holds.
	Kind Kind

	// Flag is the flag without its dashes, or empty where there is none.
	Flag string

	// Env is the variable, or empty where there is none.
	Env string

	// Alone is the value that the flag has where none is given with it, or empty where
	// one has to be. A value then stands behind an equals sign.
	Alone string

	// Secret says that the value must not be shown.
	Secret bool

	// Default is what holds when nothing is said; lists are joined by commas.
	Default string

	// Help is one line that says what the key does, with its unit, range and
	// what an empty value means. A word in back quotes names the flag's value.
	Help string
}

// Reference returns the keys as a Markdown table, for the reference page.
func Reference(keys []Key) string {
	var b strings.Builder
	b.WriteString("| key | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |\n")
	code := func(s string) string {
		if s == "" {
			return ""
		}
		return "`" + s + "`"
	}
	for _, k := range keys {
		flag := k.Flag
		if flag != "" {
			flag = "--" + flag
		}
		help := strings.ReplaceAll(strings.ReplaceAll(k.Help, "`", ""), "|", `\|`)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(k.Name), code(flag), code(k.Env), code(k.Default), help)
	}
	return b.String()
}

// value is the default in the form viper hands on.
func (k Key) value() any {
	if k.isList() {
		return splitList(k.Default)
	}
	return k.Default
}

func (k Key) isList() bool { return k.Kind == List || k.Kind == Lines || k.Kind == Texts }

// withEnv fills in the variables: prefix and the name in capitals, dots and
// dashes as underscores. Members of lists of maps have one where they have a flag.
func withEnv(prefix string, keys []Key) []Key {
	for i, k := range keys {
		if k.Kind != Table && (k.Flag != "" || !k.isMember()) {
			keys[i].Env = prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(k.outside()))
		}
	}
	return keys
}

// isMember reports whether the key is one of a list of maps.
func (k Key) isMember() bool { return strings.Contains(k.Name, "[]") }

// outside is the key's name where it is not in a file: that of a member of a list of
// maps is its flag's.
func (k Key) outside() string {
	if k.isMember() {
		return k.Flag
	}
	return k.Name
}

// register adds a flag for each key that has one.
func register(fs *pflag.FlagSet, keys []Key) {
	for _, k := range keys {
		switch {
		case k.Flag == "":
		case k.Kind == Switch:
			fs.Bool(k.Flag, k.Default == "true", k.Help)
		case k.Kind == Lines:
			fs.StringArray(k.Flag, nil, k.Help)
		case k.isList():
			fs.StringSlice(k.Flag, splitList(k.Default), k.Help)
		default:
			fs.Var(&textFlag{value: k.Default, set: fs}, k.Flag, k.Help)
			fs.Lookup(k.Flag).NoOptDefVal = k.Alone
		}
	}
}

// A textFlag is a flag with one text. It counts how often it was given, so that
// a second value is refused instead of replacing the first in silence.
type textFlag struct {
	value  string // the default, then what was given first
	given  int
	set    *pflag.FlagSet // that it is one of
	before int            // how many arguments stood before it where it was given
}

func (f *textFlag) Type() string { return "string" }

func (f *textFlag) Set(s string) error {
	if f.given == 0 {
		f.value = s
	}
	f.given++
	f.before = f.set.NArg()
	return nil
}

func (f *textFlag) String() string { return f.value }

// repeated reports each flag with one text that was given more than once.
func repeated(fs *pflag.FlagSet, keys []Key) Errors {
	var errs Errors
	for _, k := range keys {
		if k.Flag == "" || fs == nil || fs.Lookup(k.Flag) == nil {
			continue
		}
		if f, ok := fs.Lookup(k.Flag).Value.(*textFlag); ok && f.given > 1 {
			errs = append(errs, &Error{From: "--" + k.Flag, Message: fmt.Sprintf("given %d times", f.given), Hints: []string{"give it once"}})
		}
	}
	return errs
}

// splitList splits at commas and drops the space around each part. Nothing
// gives an empty list.
func splitList(s string) []string {
	if strings.TrimSpace(s) == "" {
		return []string{}
	}
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
