package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

const (
	// maxPassword is how many bytes of a password bcrypt looks at.
	maxPassword = 72
	// passwordCost is bcrypt's cost: one guess takes about a tenth of a second.
	passwordCost = 11
)

// passwordCommand makes the hash of a password, for a gate.
func passwordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "password [USER]",
		Short: "Make the hash of a password, for a gate",
		Long: `Asks for a password twice on the terminal, where it is not shown, or reads it from
standard input, and prints the user and the password's bcrypt hash: a line for a
password file, or the value of --auth. The password itself is kept nowhere.`,
		Example: `  remote password me
  remote password me >> users.htpasswd
  remote 3000 --auth "$(remote password me)"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 { // it may be the password, which is not shown
				return cli.Usage(hint.PasswordArgument.Error(errors.New("one argument too many behind the user")))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			user := "user"
			if len(args) > 0 {
				user = args[0]
			}
			if user == "" || len(user) > 256 || strings.ContainsFunc(user, func(r rune) bool { return r <= ' ' || r == 0x7f || r == ':' }) {
				return cli.Usage(fmt.Errorf("%q is no name of a user: letters, digits and signs, but no colon and no space", user))
			}
			password, err := askPassword(c.InOrStdin(), c.ErrOrStderr(), user)
			if err != nil {
				return cli.Usage(hint.OnePassword.Error(fmt.Errorf("the password: %w", err)))
			}
			hash, err := bcrypt.GenerateFromPassword(password, passwordCost)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s:%s\n", user, hash)
			return nil
		},
	}
}

// askPassword reads a password: twice from a terminal without showing it, else the
// first line of in.
func askPassword(in io.Reader, prompt io.Writer, user string) ([]byte, error) {
	var password []byte
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var given [2][]byte
		for i, ask := range []string{"password for " + user + ": ", "the same again: "} {
			fmt.Fprint(prompt, ask)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(prompt)
			if err != nil {
				return nil, err
			}
			given[i] = b
		}
		if !bytes.Equal(given[0], given[1]) {
			return nil, errors.New("the two are not the same")
		}
		password = given[0]
	} else {
		b, err := io.ReadAll(io.LimitReader(in, 4*maxPassword))
		if err != nil {
			return nil, err
		}
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("it is one line, and there are more")
		}
		password = bytes.TrimSuffix(line, []byte("\r"))
	}
	switch {
	case len(password) == 0:
		return nil, errors.New("there is none")
	case len(password) > maxPassword:
		return nil, fmt.Errorf("it has %d bytes, and bcrypt looks at the first %d", len(password), maxPassword)
	}
	return password, nil
}
