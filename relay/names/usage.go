package names

import (
	"bytes"
	"slices"
)

// LoadUsage returns what SaveUsage has kept, by its keys.
func (n *Names) LoadUsage() (map[string][]byte, error) {
	all := make(map[string][]byte)
	err := n.view(func(l *ledger) error {
		for k, v := range l.From(tableUsage, nil) {
			all[string(k)] = bytes.Clone(v)
		}
		return nil
	})
	return all, err
}

// SaveUsage keeps values by their keys; a nil value takes its key out. It is for
// package limits, which knows what they mean.
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

// Shared reports whether other processes change the record, too: then what was used is
// kept by AddUsage.
func (n *Names) Shared() bool {
	_, shared := n.Grants.(SharedStore)
	return shared
}

// AddUsage changes the values of owners, as SaveUsage does, where other processes do so,
// too: add gets the value that is there, or nil, and returns the one in its place. It may
// be called several times for one owner; the last call counts. They are changed in as
// few transactions as they fit into.
func (n *Names) AddUsage(owners []string, add func(owner string, kept []byte) []byte) error {
	for some := range slices.Chunk(owners, usageBatch) {
		err := n.update(func(l *ledger) error {
			for _, owner := range some {
				if err := l.Set(tableUsage, []byte(owner), add(owner, l.Get(tableUsage, []byte(owner)))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// usageBatch is how many values AddUsage changes in one transaction: those of claims wait
// for it.
const usageBatch = 64

// LimitsOf returns what the operator allows a name by the token that opened it, as
// TokenInfo.Limits has it; nil where no token did, or it allows nothing of its own.
func (n *Names) LimitsOf(name string) (allowed map[string]string, err error) {
	err = n.view(func(l *ledger) error {
		allowed = nil
		gr, err := l.get(name)
		if err != nil || gr == nil || gr.Token == "" {
			return err
		}
		_, t, err := l.tokenByID(gr.Token)
		if err == nil && t != nil {
			allowed = t.Limits
		}
		return err
	})
	return allowed, err
}
