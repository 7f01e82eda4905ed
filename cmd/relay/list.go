package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/internal/relaylist"
)

// listCommand is for whoever publishes a list of relays. It asks no relay.
func listCommand() *cobra.Command {
	return group("list", "Make a list of relays that devices may choose from: its key, its signature, a check", listKeyCommand(), listSignCommand(), listVerifyCommand())
}

func listKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key FILE",
		Short: "Make the key that signs a list, or show the public half of one that is there",
		Long: `Makes an Ed25519 key in a new file that only this user can read, and prints its public
half, which devices are given. Whoever has the file can send all devices of the list to
other relays: keep it off the machine that publishes the list. Where FILE is there
already, it is left as it is.

Exit codes: 0 done, 1 the file cannot be written or read, 2 wrong usage.`,
		Example: `  relay list key list.key`,
		Args:    cli.Args("the file of the key"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := listKey(args[0])
			if errors.Is(err, fs.ErrNotExist) {
				return makeListKey(c.OutOrStdout(), args[0])
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), relaylist.KeyOf(key))
			return err
		},
	}
}

// makeListKey makes a key in a file that is not there, and writes its public half.
func makeListKey(w io.Writer, file string) error {
	b, public, err := relaylist.NewKey()
	if err != nil {
		return err
	}
	if err := ownfile.Write(file, b); err != nil {
		return ownfile.Explain(err, file)
	}
	_, err = fmt.Fprintln(w, public)
	return err
}

// listKey reads the key in a file.
func listKey(file string) (ed25519.PrivateKey, error) {
	b, err := ownfile.Read(file)
	if err != nil {
		return nil, ownfile.ExplainNamed(err, file)
	}
	key, err := relaylist.ParsePrivateKey(ownfile.PEM(b))
	if err != nil {
		return nil, hint.NotListKey.Error(fmt.Errorf("%s is no key of a list: %w", file, err))
	}
	return key, nil
}

func listSignCommand() *cobra.Command {
	var files []string
	var days int
	var serial uint64
	c := &cobra.Command{
		Use:   "sign DRAFT",
		Short: "Sign a list, or sign it anew",
		Long: `Reads a list from a file, or from stdin where DRAFT is -, sets its serial number, when
it was issued and when it expires, signs it, and prints it. The draft is JSON: a name
and relays, or a list that was signed before. Fields that this program does not know
are kept, and are signed too. The serial number is the time, unless --serial says another
one: it must be higher than that of the list before, or devices refuse the new one.

Exit codes: 0 done, 1 a key cannot be read, 2 wrong usage, or a mistake in the draft.`,
		Example: `  relay list sign draft.json --key list.key >relays.json
  relay list sign relays.json --key list.key --key next.key --days 90 >new.json`,
		Args: cli.Args("the file of the draft, or -"),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case len(files) == 0:
				return cli.Usage(hint.ListKeyMissing.Error(errors.New("--key FILE is missing")))
			case days < 1 || days > 3650:
				return cli.Usage(errors.New("--days: a list is good for 1 to 3650 days"))
			}
			draft, err := readList(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			var keys []ed25519.PrivateKey
			for _, file := range files {
				key, err := listKey(file)
				if err != nil {
					return err
				}
				keys = append(keys, key)
			}
			now := time.Now().UTC().Truncate(time.Second)
			if serial == 0 {
				serial = uint64(now.Unix())
			}
			b, err := relaylist.Sign(draft, relaylist.Stamp{Serial: serial, Issued: now, Expires: now.AddDate(0, 0, days)}, keys...)
			if err != nil {
				return cli.Usage(hint.ListDraft.Error(err))
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
	c.Flags().StringArrayVar(&files, "key", nil, "the `FILE` of a key that signs; may repeat, as while one key follows another")
	c.Flags().IntVar(&days, "days", 30, "for how many days the list is good, `N` from 1 to 3650; devices refuse one that has expired")
	c.Flags().Uint64Var(&serial, "serial", 0, "the serial `NUMBER`, from 1; 0 is the seconds since 1970")
	return c
}

// readList reads a file of a list, or stdin for -, and not more than a list may have.
func readList(stdin io.Reader, file string) ([]byte, error) {
	from := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, ownfile.ExplainNamed(err, file)
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, relaylist.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the list: %w", err)
	}
	return ownfile.Text(b), nil
}

func listVerifyCommand() *cobra.Command {
	var wanted []string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify LIST",
		Short: "Check a list as a device does, and show what is in it",
		Long: `Reads a list from a file, or from stdin where LIST is -, and looks at its form, its
signatures and its end. Without --key any signature that fits is enough, and says who
signed: compare it with the key that devices were given. No relay is dialled: remote
relays does that.

Exit codes: 0 the list is good, 1 it is not, or cannot be read, 2 wrong usage.`,
		Example: `  relay list verify relays.json --key ed25519:O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=
  curl -s https://lists.example/relays.json | relay list verify -`,
		Args: cli.Args("the file of the list, or -"),
		RunE: func(c *cobra.Command, args []string) error {
			var keys []relaylist.Key
			for _, s := range wanted {
				key, err := relaylist.ParseKey(strings.TrimSpace(s))
				if err != nil {
					return cli.Usage(fmt.Errorf("--key: %w", err))
				}
				keys = append(keys, key)
			}
			b, err := readList(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			return verifyList(c.OutOrStdout(), b, keys, asJSON)
		},
	}
	c.Flags().StringArrayVar(&wanted, "key", nil, "the public `KEY` that must have signed, as relay list key prints it; of several, one is enough")
	c.Flags().BoolVar(&asJSON, "json", false, "print what is in it as JSON")
	return c
}

// A listShown is what is in a list, as --json shows it. Fields are added, never changed.
type listShown struct {
	Name    string       `json:"name"`
	Serial  uint64       `json:"serial"`
	Issued  time.Time    `json:"issued"`
	Expires time.Time    `json:"expires"`
	Signers []string     `json:"signers"`
	Relays  []relayShown `json:"relays"`
}

type relayShown struct {
	Relay    string `json:"relay"`
	Operator string `json:"operator,omitempty"`
	Region   string `json:"region,omitempty"`
}

// verifyList checks a list and shows it. Keys are those of which one must have signed;
// none is any.
func verifyList(w io.Writer, b []byte, keys []relaylist.Key, asJSON bool) error {
	l, err := relaylist.Parse(b)
	if err != nil {
		return hint.ListDraft.Error(err)
	}
	shown := listShown{Name: l.Name, Serial: l.Serial, Issued: l.Issued, Expires: l.Expires, Signers: []string{}}
	signed := false
	for _, key := range l.Signers() {
		shown.Signers = append(shown.Signers, key.String())
		signed = signed || len(keys) == 0
	}
	for _, key := range keys {
		signed = signed || l.SignedBy(key)
	}
	for _, r := range l.Relays {
		shown.Relays = append(shown.Relays, relayShown{r.Address, r.Operator, r.Region})
	}
	if asJSON {
		err = cli.WriteJSON(w, shown)
	} else {
		shown.write(w)
	}
	switch {
	case err != nil:
		return err
	case !signed && len(keys) > 0:
		return hint.ListUnsigned.Error(errors.New("none of the keys that were given has signed this list"))
	case !signed:
		return hint.ListUnsigned.Error(errors.New("no signature of this list fits"))
	case l.Expired(time.Now()):
		return hint.ListOver.Error(fmt.Errorf("this list has expired at %s", l.Expires.Format(time.RFC3339)))
	}
	return nil
}

// write shows the list to people.
func (l *listShown) write(w io.Writer) {
	head := table{{"name", l.Name}, {"serial", fmt.Sprint(l.Serial)}, {"issued", clockTime(l.Issued)}, {"expires", clockTime(l.Expires)}}
	for _, key := range l.Signers {
		head.add("signed by", key)
	}
	head.write(w)
	fmt.Fprintln(w)
	relays := table{{"RELAY", "OPERATOR", "REGION"}}
	for _, r := range l.Relays {
		relays.add(r.Relay, r.Operator, r.Region)
	}
	relays.write(w)
}
