package cluster

import (
	"time"

	"golang.org/x/crypto/cryptobyte"

	"keystay/framing"
)

// An order is a replica's question for the turn to order a certificate, or its word that
// it has ended.
type order struct {
	id     uint32 // of the question, for its answer
	name   string
	run    framing.Run
	begins bool
}

func (o *order) record() []byte {
	return record(kindOrder, func(b *cryptobyte.Builder) {
		b.AddUint32(o.id)
		addText8(b, o.name)
		addRun(b, o.run)
		var flags uint8
		if o.begins {
			flags = 1
		}
		b.AddUint8(flags)
	})
}

func parseOrder(p []byte) (o order, err error) {
	s := cryptobyte.String(p)
	var flags uint8
	if !s.ReadUint32(&o.id) || !readName(&s, &o.name) || !readRun(&s, &o.run) || !s.ReadUint8(&flags) {
		return order{}, violation("a broken ORDER")
	}
	o.begins = flags&1 != 0
	return o, nil
}

func answer(id uint32, granted bool) []byte {
	return record(kindAnswer, func(b *cryptobyte.Builder) {
		b.AddUint32(id)
		if granted {
			b.AddUint8(1)
		} else {
			b.AddUint8(0)
		}
	})
}

func parseAnswer(p []byte) (id uint32, granted bool, err error) {
	s := cryptobyte.String(p)
	var g uint8
	if !s.ReadUint32(&id) || !s.ReadUint8(&g) {
		return 0, false, violation("a broken ANSWER")
	}
	return id, g == 1, nil
}

// turnRecord says whose turn it is for a name, for how long yet; 0 is that it has ended.
func turnRecord(name string, run framing.Run, left time.Duration) []byte {
	return record(kindTurn, func(b *cryptobyte.Builder) {
		addText8(b, name)
		addRun(b, run)
		b.AddUint32(uint32(max(0, left.Milliseconds())))
	})
}

func parseTurn(p []byte) (name string, run framing.Run, left time.Duration, err error) {
	s := cryptobyte.String(p)
	var ms uint32
	if !readName(&s, &name) || !readRun(&s, &run) || !s.ReadUint32(&ms) {
		return "", run, 0, violation("a broken TURN")
	}
	left = time.Duration(ms) * time.Millisecond
	if left > framing.OrderTime {
		return "", run, 0, violation("a TURN that is too long")
	}
	return name, run, left, nil
}
