package names

import "bytes"

// LoadUsage returns what SaveUsage has kept.
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

// SaveUsage keeps values by what they are of; nil takes one out. What they mean is
// not known here.
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

// LimitsOf returns what the token allows that opened a name, by the names of the
// keys, as it was when the name was last claimed here; nil is nothing of its own. It
// reads memory alone.
func (n *Names) LimitsOf(name string) map[string]string {
	limits, _ := n.allowed.Load(name)
	m, _ := limits.(map[string]string)
	return m
}

// noteLimits keeps what LimitsOf returns.
func (n *Names) noteLimits(name string) {
	var limits map[string]string
	err := n.view(func(l *ledger) error {
		gr, err := l.get(name)
		if gr == nil || gr.Token == "" || err != nil {
			return err
		}
		_, t, err := l.tokenByID(gr.Token)
		if t != nil {
			limits = t.Limits
		}
		return err
	})
	switch {
	case err != nil: // it stays as it was
	case len(limits) > 0:
		n.allowed.Store(name, limits)
	default:
		n.allowed.Delete(name)
	}
}
