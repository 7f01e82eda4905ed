package names

import (
	"bytes"
	"encoding/hex"
)

// LoadUsage returns what SaveUsage has kept: values, by what stands for their owners.
func (n *Names) LoadUsage() (map[string][]byte, error) {
	kept := make(map[string][]byte)
	err := n.view(func(l *ledger) error {
		clear(kept)
		for k, v := range l.From(tableUsage, nil) {
			kept[string(k)] = bytes.Clone(v)
		}
		return nil
	})
	return kept, err
}

// SaveUsage keeps values, and takes those out that are nil. Names does not read
// them.
func (n *Names) SaveUsage(changed map[string][]byte) error {
	return n.update(func(l *ledger) error {
		for k, v := range changed {
			if err := l.Set(tableUsage, []byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// LimitsOf returns what the operator allows a name by the token that opened it, as
// TokenInfo.Limits has it; nil where no token did, or it allows nothing of its own.
func (n *Names) LimitsOf(name string) (allowed map[string]string, err error) {
	err = n.view(func(l *ledger) error {
		allowed = nil
		gr, err := l.get(name)
		if err != nil || gr == nil || gr.Token == "" {
			return err
		}
		hash, err := hex.DecodeString(gr.Token)
		if err != nil {
			return nil
		}
		for k, v := range l.From(tableTokens, hash) {
			if tokenID(k) != gr.Token {
				break
			}
			t, err := parseToken(k, v)
			if err == nil {
				allowed = t.Limits
			}
			return err
		}
		return nil
	})
	return allowed, err
}
