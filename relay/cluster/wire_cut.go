package cluster

import (
	"net/netip"

	"golang.org/x/crypto/cryptobyte"

	"keystay/relay"
	"keystay/relay/names"
)

// cutRecord tells another node of a cut.
func cutRecord(c *relay.Cut) []byte {
	return record(kindCut, func(b *cryptobyte.Builder) {
		addText8(b, c.Identity)
		addText8(b, c.Name)
		address, addresses := "", ""
		if c.Address.IsValid() {
			address = c.Address.String()
		}
		if c.Addresses.IsValid() {
			addresses = c.Addresses.String()
		}
		addText8(b, address)
		addText8(b, addresses)
		b.AddUint8(uint8(c.Why.Code))
		addText16(b, c.Why.Text)
		hints := c.Why.Hints[:min(len(c.Why.Hints), maxHints)]
		b.AddUint8(uint8(len(hints)))
		for _, h := range hints {
			addText16(b, h)
		}
	})
}

// parseCut reads a CUT: at least one thing is cut, or it would be everything.
func parseCut(p []byte) (c relay.Cut, err error) {
	broken := violation("a broken CUT")
	s := cryptobyte.String(p)
	var address, addresses string
	var code, n uint8
	if !readText8(&s, &c.Identity) || !readText8(&s, &c.Name) || !readText8(&s, &address) || !readText8(&s, &addresses) ||
		!s.ReadUint8(&code) || !readText16(&s, &c.Why.Text) || !s.ReadUint8(&n) || n > maxHints {
		return relay.Cut{}, broken
	}
	for range n {
		var h string
		if !readText16(&s, &h) {
			return relay.Cut{}, broken
		}
		c.Why.Hints = append(c.Why.Hints, h)
	}
	if address != "" {
		if c.Address, err = netip.ParseAddrPort(address); err != nil {
			return relay.Cut{}, broken
		}
	}
	if addresses != "" {
		if c.Addresses, err = netip.ParsePrefix(addresses); err != nil {
			return relay.Cut{}, broken
		}
	}
	if c.Identity == "" && c.Name == "" && address == "" && addresses == "" {
		return relay.Cut{}, violation("a CUT of everything")
	}
	c.Why.Code, c.Elsewhere = names.Code(code), true
	return c, nil
}
