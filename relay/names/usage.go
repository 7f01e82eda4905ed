package names

import "bytes"

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
