package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"keystay/config"
	"keystay/deploy"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/plain"
)

// maxAsked is how often a question is asked whose answer is wrong.
const maxAsked = 5

// A choice is one setting that relay init asks for.
type choice struct {
	key, flag, help string
	question        string // empty is not to be asked
	line            string // of the commented file, with its default; see filled
	value           string
	given           bool
}

// choices are all of them, in the order in which they are asked.
func choices() []*choice {
	return []*choice{{
		key: "domain", flag: "domain", help: "the relay's own `NAME`, below which it gives out names",
		question: "The relay's own name, below which it gives out names",
		line:     `domain: ""`,
	}, {
		key: "names.policy", flag: "policy", help: "who may take names: `POLICY` open (anyone, first come), token, or closed",
		question: "Who may take names: open (anyone, first come), token, or closed",
		line:     "  policy: open", value: "token",
	}, {
		key: "acme.email", flag: "email", help: "the contact `ADDRESS` for the CA's account; may be empty",
		question: "A mail address for the CA, may be empty",
		line:     `acme: {ca: "", ca_root: "", email: ""`,
	}, {
		key: "abuse", flag: "abuse", help: "where people can complain: a mail `ADDRESS` or https:// URL shown to everybody; may be empty",
		question: "Where people can complain, a mail address or https:// URL shown to everybody, may be empty",
		line:     `abuse: ""`,
	}, {
		key: "state_dir", flag: "state-dir", help: "the `DIR` of certificates, names and sockets",
		line: "state_dir: /var/lib/keystay", value: "/var/lib/keystay",
	}}
}

// initCommand writes a configuration.
func initCommand() *cobra.Command {
	all := choices()
	cmd := &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a commented relay.yaml from a few questions, or from flags",
		Long: `Writes FILE, relay.yaml in this folder where none is named: every key with its default
and what it means, and the answers to a few questions in it. On a terminal it asks what
no flag says; elsewhere the rest stays as it is. It never overwrites a file, and writes
none that a start would refuse.

Exit codes: 0 it is written, 1 it could not be, 2 wrong usage.`,
		Example: `  relay init
  sudo relay init /etc/keystay/relay.yaml --domain relay.net --policy token`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return cli.Usage(hint.Help.Error(fmt.Errorf("one file is written, and %d are named", len(args)), "COMMAND", "relay init"))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			file := "relay.yaml"
			if len(args) > 0 {
				file = args[0]
			}
			if _, err := os.Lstat(file); err == nil {
				return cli.Usage(hint.InitExists.Error(fmt.Errorf("%s is there already", file), "FILE", file))
			}
			for _, ch := range all {
				ch.given = c.Flags().Changed(ch.flag)
			}
			if err := askAll(c.InOrStdin(), c.ErrOrStderr(), all); err != nil {
				return cli.Usage(err)
			}
			if err := writeConfig(file, filled(all)); err != nil {
				return err
			}
			next(c.OutOrStdout(), file, all)
			return nil
		},
	}
	for _, ch := range all {
		cmd.Flags().StringVar(&ch.value, ch.flag, ch.value, ch.help)
	}
	return cmd
}

// askAll asks a person at a terminal for what no flag says. Elsewhere the domain has to
// be given.
func askAll(in io.Reader, out io.Writer, all []*choice) error {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		if !all[0].given {
			return hint.InitDomain.Error(errors.New("--domain is missing, and nobody is there to be asked"))
		}
		return nil
	}
	lines := bufio.NewReader(in)
	for _, ch := range all {
		if ch.given || ch.question == "" {
			continue
		}
		if err := ask(lines, out, ch, all); err != nil {
			return err
		}
	}
	return nil
}

// ask asks one question until its answer can be used.
func ask(in *bufio.Reader, out io.Writer, ch *choice, all []*choice) error {
	byDefault := ch.value
	for range maxAsked {
		fmt.Fprint(out, ch.question)
		if byDefault != "" {
			fmt.Fprintf(out, " [%s]", byDefault)
		}
		fmt.Fprint(out, ": ")
		line, err := in.ReadString('\n')
		if ch.value = strings.TrimSpace(line); ch.value == "" {
			ch.value = byDefault
		}
		if err != nil && line == "" {
			fmt.Fprintln(out)
			return fmt.Errorf("no answer: %w", err)
		}
		wrong := mistakes(filled(all), ch.key)
		if len(wrong) == 0 {
			return nil
		}
		for _, e := range wrong {
			fmt.Fprintln(out, plain.Text("  "+e.Message))
			for _, h := range e.Hints {
				fmt.Fprintln(out, plain.Text("  hint: "+h))
			}
		}
	}
	return fmt.Errorf("%s: no answer could be used", ch.key)
}

// filled is the commented file with the choices in it.
func filled(all []*choice) string {
	text := deploy.RelayYAML()
	for _, ch := range all {
		text = strings.Replace(text, "\n"+ch.line, "\n"+ch.filled(), 1)
	}
	return text
}

// filled is the line with the value in it: in the place of the empty quotes at its end,
// or of all behind the colon.
func (ch *choice) filled() string {
	if before, ok := strings.CutSuffix(ch.line, `""`); ok {
		return before + strconv.Quote(ch.value)
	}
	before, _, _ := strings.Cut(ch.line, ": ")
	return before + ": " + strconv.Quote(ch.value)
}

// mistakes are those of one key in a configuration, or of all with an empty one.
func mistakes(text, key string) (list config.Errors) {
	dir, err := os.MkdirTemp("", "relay-init-")
	if err != nil {
		return config.Errors{{Message: err.Error()}}
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "relay.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return config.Errors{{Message: err.Error()}}
	}
	flags := pflag.NewFlagSet("relay", pflag.ContinueOnError)
	config.RelayFlags(flags)
	if err := flags.Set("config", file); err != nil {
		return config.Errors{{Message: err.Error()}}
	}
	_, _, _, err = config.ReadRelay(flags)
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		return nil
	}
	for _, e := range wrong {
		if key == "" || e.Key == key {
			list = append(list, e)
		}
	}
	return list
}

// writeConfig writes a configuration that can be used to a file that is not there yet.
func writeConfig(file, text string) error {
	if wrong := mistakes(text, ""); len(wrong) > 0 {
		for _, e := range wrong { // the file is only to be
			if e.Line > 0 {
				e.From, e.Line = "", 0
			}
			if e.Key != "" && e.From == "" && !strings.HasPrefix(e.Message, e.Key) {
				e.Message = e.Key + ": " + e.Message
			}
		}
		return cli.Usage(wrong)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // it has no secret, and the relay's user has to read it
	if errors.Is(err, fs.ErrExist) {
		return cli.Usage(hint.InitExists.Error(fmt.Errorf("%s is there already", file), "FILE", file))
	}
	if err == nil {
		_, err = f.WriteString(text)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return hint.InitFile.Error(fmt.Errorf("write the configuration: %w", err), "FILE", file)
	}
	return nil
}

// next says what to do with the file.
func next(w io.Writer, file string, all []*choice) {
	domain, policy := all[0].value, all[1].value
	fmt.Fprintf(w, "%s is written\n\n", plain.Text(file))
	steps := []string{
		"lead " + domain + " and *." + domain + " to this machine: see deploy/dns-wildcard.md",
		"relay check --config " + file,
		"relay --config " + file,
	}
	if policy == "token" {
		steps = append(steps, "for each person who is to have names: relay token create --names '*."+domain+"' --config "+file)
	}
	for i, s := range steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, plain.Text(s))
	}
}
