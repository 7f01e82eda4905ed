package framing

import "encoding/binary"

// A parser splits a stream's bytes into records, however they are cut.
type parser struct {
	phase phase

	arrived, updated uint32 // bytes in all, and what of them UPD has told

	head    [recordHeader]byte
	nhead   int
	typ     recordType
	left    int    // bytes of the payload that are still to come
	payload []byte // of a record that is not DATA
}

// A phase is how far a stream's records have come. It only grows. The side that
// opens a stream begins in phaseData, since no HEADER comes to it.
type phase uint8

const (
	phaseHeader phase = iota // HEADER is to come
	phaseData                // anything but HEADER may come
	phaseEnded               // END or SWITCH has come: no more DATA, END or SWITCH
	phaseReset               // RESET has come: nothing may follow
	phaseCut                 // smux's FIN has come: nothing can follow
)

// feed parses p and hands each record to the sink.
func (r *parser) feed(s sink, p []byte) error {
	for len(p) > 0 {
		if r.nhead < recordHeader {
			n := copy(r.head[r.nhead:], p)
			r.nhead += n
			p = p[n:]
			if r.nhead < recordHeader {
				return nil
			}
			r.typ, r.left = parseRecordHeader(r.head[:])
			if err := r.check(s); err != nil {
				return err
			}
		}
		n := min(r.left, len(p))
		if r.typ == recData {
			if err := s.data(p[:n]); err != nil {
				return err
			}
		} else {
			r.payload = append(r.payload, p[:n]...)
		}
		p = p[n:]
		if r.left -= n; r.left > 0 {
			return nil
		}
		r.nhead = 0
		payload := r.payload
		r.payload = nil
		if err := r.record(s, payload); err != nil {
			return err
		}
	}
	return nil
}

// check decides from a record's header whether it may come now.
func (r *parser) check(s sink) error {
	if r.phase == phaseReset {
		return protocolErrorf("stream record 0x%02x after RESET", r.typ)
	}
	limit := maxSmall
	switch r.typ {
	case recHeader:
		limit = maxHeader
		if r.phase != phaseHeader {
			return protocolErrorf("HEADER in the wrong place")
		}
	case recData:
		limit = maxData
		if r.left == 0 {
			return protocolErrorf("empty DATA")
		}
		if r.phase >= phaseEnded {
			return protocolErrorf("DATA after END or SWITCH")
		}
	case recEnd:
		limit = 0
		if r.phase >= phaseEnded {
			return protocolErrorf("END twice or after SWITCH")
		}
	case recSwitch:
		if !s.lanes() {
			return protocolErrorf("SWITCH where no lanes were agreed on")
		}
		if r.phase >= phaseEnded {
			return protocolErrorf("SWITCH twice or after END")
		}
	case recReturn:
		if !s.returns() {
			limit = maxControl // not known
		} else if r.phase >= phaseEnded {
			return protocolErrorf("RETURN after END or SWITCH")
		}
	case recReset, recCredit:
	default:
		limit = maxControl
		if r.typ < optional {
			return protocolErrorf("unknown stream record 0x%02x", r.typ)
		}
	}
	if r.phase == phaseHeader && r.typ != recHeader {
		return protocolErrorf("stream record 0x%02x before HEADER", r.typ)
	}
	if r.left > limit {
		return protocolErrorf("stream record 0x%02x of %d bytes", r.typ, r.left)
	}
	return nil
}

// record hands on a record that is whole.
func (r *parser) record(s sink, payload []byte) error {
	switch r.typ {
	case recHeader:
		h, err := parseHeader(payload)
		if err != nil {
			return err
		}
		r.phase = phaseData
		return s.begun(h)
	case recEnd:
		r.phase = phaseEnded
		s.end()
	case recSwitch:
		if len(payload) < 8 {
			return protocolErrorf("short SWITCH")
		}
		r.phase = phaseEnded
		return s.switched(binary.BigEndian.Uint64(payload))
	case recReset:
		if len(payload) < 2 {
			return protocolErrorf("short RESET")
		}
		r.phase = phaseReset
		s.fail(&ResetError{ResetCode(binary.BigEndian.Uint16(payload))})
	case recCredit:
		if len(payload) < 4 {
			return protocolErrorf("short CREDIT")
		}
		return s.credited(binary.BigEndian.Uint32(payload))
	case recReturn:
		if !s.returns() {
			return nil
		}
		if len(payload) < 4 {
			return protocolErrorf("short RETURN")
		}
		return s.returned(binary.BigEndian.Uint32(payload))
	}
	return nil
}

// A sink is what a parser feeds: a Stream, or a test's record of it.
type sink interface {
	begun(Header) error
	data([]byte) error
	end()
	fail(error)
	credited(uint32) error
	returns() bool // RETURN is known
	returned(uint32) error
	lanes() bool // SWITCH may come at all
	switched(offset uint64) error
}
