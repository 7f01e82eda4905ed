package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keystay/internal/hint"
)

// flagError makes what pflag says of a command line an error for people: with
// the flag that was meant, where one is near.
func flagError(c *cobra.Command, err error) error {
	usage := hint.Help.Error(err, "COMMAND", c.CommandPath())
	var unknown *pflag.NotExistError
	var valueless *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &valueless) && valueless.GetFlag() != nil:
		value, _ := pflag.UnquoteUsage(valueless.GetFlag())
		return Usage(hint.FlagValue.Error(usage, "FLAG", valueless.GetFlag().Name, "VALUE", value))
	case errors.As(err, &invalid) && invalid.GetFlag() != nil && invalid.GetFlag().Value.Type() == "bool":
		name := invalid.GetFlag().Name
		err = hint.Help.Error(fmt.Errorf("--%s: %q is neither true nor false", name, invalid.GetValue()), "COMMAND", c.CommandPath())
		return Usage(hint.FlagAlone.Error(err, "FLAG", name))
	case errors.As(err, &invalid) && invalid.GetFlag() != nil && valueForms[invalid.GetFlag().Value.Type()] != "":
		form := valueForms[invalid.GetFlag().Value.Type()]
		return Usage(hint.Help.Error(fmt.Errorf("--%s: %q is %s", invalid.GetFlag().Name, invalid.GetValue(), form), "COMMAND", c.CommandPath()))
	case !errors.As(err, &unknown):
		return Usage(usage)
	}
	// Behind a command that is none the flags of the right one are unknown: the word
	// before them is the mistake.
	if words := c.Flags().Args(); c.HasParent() && c.HasSubCommands() && len(words) > 0 {
		return noArgs(c, words)
	}
	name := unknown.GetSpecifiedName()
	if letters := unknown.GetSpecifiedShortnames(); letters != "" {
		name, _, _ = strings.Cut(letters, "=")
		if strings.Trim(name, "0123456789") == "" && c.Flags().Lookup("local") != nil {
			return Usage(hint.NoPort.Error(usage))
		}
	}
	if name == "config" && c.Flags().Lookup("state-dir") != nil && c.Flags().Lookup("config") == nil {
		return Usage(hint.NoConfigFile.Error(usage))
	}
	if word := arguments[name]; word != "" && slices.Contains(strings.FieldsFunc(c.Use, func(r rune) bool { return r < 'A' || r > 'Z' }), word) {
		return Usage(hint.MeantCommand.Error(usage, "COMMAND", c.CommandPath()+" "+word))
	}
	if meant := meantFlag(c, name); meant != "" {
		return Usage(hint.MeantFlag.Error(usage, "FLAG", meant))
	}
	return Usage(usage)
}

// arguments are what is an argument of some commands, and was given as a flag.
var arguments = map[string]string{
	"domain": "NAME", "name": "NAME", "relay": "RELAY", "id": "ID", "identity": "IDENTITY",
	"range": "RANGE", "address": "RANGE", "pattern": "PATTERN",
}

// valueForms say what is wrong with a value that is none of a flag's type.
var valueForms = map[string]string{"int": "no whole number", "duration": "no duration, as in 30m or 48h", "stringToString": "not KEY=VALUE"}

// foreignFlags are flags of other programs of this kind, and what they are here.
var foreignFlags = map[string]string{
	"p": "local", "s": "domain", "d": "domain", "r": "relay", "c": "config", "t": "token",
	"port": "local", "url": "domain", "hostname": "domain", "subdomain": "domain", "name": "domain",
	"host": "relay", "server": "relay", "authtoken": "token", "auth-token": "token",
	"conf": "config", "config-file": "config", "token": "token-file",
	"format": "json", "output": "json", "o": "json", "names": "with-names",
	"until": "for", "duration": "for", "ttl": "expires", "message": "reason", "m": "reason", "reason": "note", "force": "free",
}

// meantFlag returns the flag of c that was most likely meant by a name, or "".
func meantFlag(c *cobra.Command, name string) string {
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := hint.Nearest(name, names); near != "" && len(name) > 1 {
		return near
	}
	if name == "port" && c.Flags().Lookup("listen") != nil {
		return "listen"
	}
	if here := foreignFlags[strings.ToLower(name)]; here != "" && c.Flags().Lookup(here) != nil {
		return here
	}
	return ""
}

// noArgs refuses arguments as a mistake of usage.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	if name, long := hint.LongDash(args[0]); long {
		err := hint.Help.Error(fmt.Errorf("%q begins with a long dash", args[0]), "COMMAND", c.CommandPath())
		if meant := meantFlag(c, name); meant != "" {
			return Usage(hint.MeantFlag.Error(err, "FLAG", meant))
		}
		return Usage(err)
	}
	err := hint.Help.Error(fmt.Errorf("unexpected argument %q", args[0]), "COMMAND", c.CommandPath())
	if near := hint.Nearest(args[0], names); near != "" {
		return Usage(hint.MeantCommand.Error(err, "COMMAND", c.CommandPath()+" "+near))
	}
	if c.Flags().Lookup("config") != nil && isConfig(args[0]) {
		return Usage(hint.MeantCommand.Error(err, "COMMAND", c.CommandPath()+" --config "+args[0]))
	}
	if meant := meantCommands(c, args[0]); len(meant) > 0 {
		return Usage(hint.MeantCommand.Error(err, "COMMAND", strings.Join(meant, " or ")))
	}
	switch {
	case len(names) == 0:
		return Usage(err)
	case c.HasParent(): // it is nothing but the name before others
		return Usage(hint.GroupCommands.Error(err, "NAMES", strings.Join(names, ", ")))
	}
	return Usage(hint.KnownCommands.Error(err, "NAMES", strings.Join(names, ", "), "COMMAND", c.CommandPath()))
}

// foreignCommands are words of other programs, and of whoever guesses, for commands
// that are called otherwise here.
var foreignCommands = map[string]string{
	"ls": "list", "new": "create", "add": "create", "get": "show", "delete": "revoke", "remove": "revoke", "rm": "revoke",
	"block": "ban", "unblock": "unban", "stop": "drain", "log": "audit", "logs": "audit",
	"identity": "identities", "device": "identities", "devices": "identities",
	"client": "remotes", "clients": "remotes", "tunnels": "remotes", "domains": "names", "limits": "config",
}

// meantCommands returns the commands at and below c that were most likely meant by a
// word: those that have it as their name, or that alone begin with it.
func meantCommands(c *cobra.Command, word string) (meant []string) {
	if here := foreignCommands[word]; here != "" {
		word = here
	}
	var begin []string
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			switch name := sub.Name(); {
			case sub.Hidden || name == "completion" || name == "help":
				continue
			case name == word:
				meant = append(meant, sub.CommandPath())
			case len(word) >= 3 && strings.HasPrefix(name, word):
				begin = append(begin, sub.CommandPath())
			}
			walk(sub)
		}
	}
	walk(c)
	if len(meant) == 0 && len(begin) == 1 {
		return begin
	}
	return meant
}

// isConfig reports whether an argument is most likely meant as a configuration
// file.
func isConfig(arg string) bool {
	if ext := filepath.Ext(arg); ext == ".yaml" || ext == ".yml" {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

// NoArgs is the Args of a command that takes none.
func NoArgs() cobra.PositionalArgs { return noArgs }

// oneArg is the Args of a command that takes one.
func oneArg(c *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return Usage(hint.Help.Error(fmt.Errorf("%d arguments instead of one", len(args)), "COMMAND", c.CommandPath()))
}

// help makes cobra's command for help refuse what is no command. It must be called
// when the other commands are there.
func help(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = func(c *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err != nil {
					found, rest = root, args
				}
				return noArgs(found, rest)
			}
		}
	}
}

// Args is the Args of a command that takes one argument for each of the words, which
// say what they are.
func Args(words ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		var err error
		switch {
		case len(args) < len(words):
			err = fmt.Errorf("%s is missing", words[len(args)])
		case len(args) > len(words):
			err = fmt.Errorf("unexpected argument %q", args[len(words)])
		default:
			return nil
		}
		return Usage(hint.Help.Error(err, "COMMAND", c.CommandPath()))
	}
}

// completion makes cobra's command for completion scripts refuse a shell that it
// does not know. It must be called when the other commands are there.
func completion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return Usage(hint.Shells.Error(fmt.Errorf("%.40q is no shell that this knows", args[0]), "COMMAND", c.CommandPath()))
		}
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArgs
		}
	}
}
