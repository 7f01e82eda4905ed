package sni

// The record layer (RFC 8446, section 5.1).
const (
	recordHeader  = 5       // type (1), version (2), length (2)
	maxPlaintext  = 1 << 14 // longest payload of a record
	messageHeader = 4       // type (1), length (3)

	recordAlert     = 21
	recordHandshake = 22

	typeClientHello = 1

	// sslv2 begins a hello of SSLv2: a length whose first bit is set, below 256.
	sslv2 = 0x80

	levelWarning = 1
	levelFatal   = 2
	closeNotify  = 0

	// maxWarnings is how many warning alerts in a row crypto/tls passes over.
	maxWarnings = 16
)

// records walks over the records of a ClientHello. It keeps its place, so that
// bytes may come one by one and each record is still looked at only once; the
// zero value stands before the first.
type records struct {
	pos      int                 // offset of the first record not yet taken
	have     int                 // bytes of the message in the records taken
	need     int                 // bytes of the message, header included; 0: not known yet
	start    int                 // offset of the first handshake record's payload
	first    int                 // and its length
	warnings int                 // warning alerts since the last handshake record
	head     [messageHeader]byte // the message's header, as far as it came
}

// advance takes the records in b from where it stopped, b being all bytes of
// the connection so far. It returns nil once the message and the record that
// holds its end are there, else ErrIncomplete or what is wrong.
func (r *records) advance(b []byte) error {
	for r.need == 0 || r.have < r.need {
		typ, payload, err := r.next(b)
		if err != nil {
			return err
		}
		if typ == recordAlert {
			err = r.alert(payload)
		} else {
			err = r.handshake(payload)
		}
		if err != nil {
			return err
		}
		r.pos += recordHeader + len(payload)
	}
	return nil
}

// next returns the record at r.pos. Its header is judged as far as it is
// there, since a peer that does not speak TLS may wait for an answer after a
// byte or two.
func (r *records) next(b []byte) (typ byte, payload []byte, err error) {
	badType, badVersion := error(errUnexpected), error(errVersion)
	if r.pos == 0 {
		badType, badVersion = ErrNotTLS, ErrNotTLS
	}
	// What is left of the message takes at least one more record.
	if r.pos+recordHeader+max(r.need-r.have, 1) > MaxHello {
		return 0, nil, ErrTooLarge
	}
	b = b[r.pos:]
	if r.pos == 0 && len(b) > 0 && b[0] == sslv2 {
		return 0, nil, errVersion
	}
	if len(b) > 0 && b[0] != recordHandshake && b[0] != recordAlert {
		return 0, nil, badType
	}
	// The record's version is 3.1 to 3.3 in practice. crypto/tls draws the
	// line at 16.0.
	if len(b) > 1 && b[1] >= 0x10 {
		return 0, nil, badVersion
	}
	if len(b) < recordHeader {
		return 0, nil, ErrIncomplete
	}
	n := int(b[3])<<8 | int(b[4])
	switch {
	case n > maxPlaintext:
		return 0, nil, errOverflow
	case b[0] == recordAlert && n != 2, n == 0:
		return 0, nil, errUnexpected
	case r.pos+recordHeader+n > MaxHello:
		return 0, nil, ErrTooLarge
	case len(b) < recordHeader+n:
		return 0, nil, ErrIncomplete
	}
	return b[0], b[recordHeader : recordHeader+n], nil
}

// handshake takes the payload of a handshake record. What a record carries
// after the end of the message is not looked at.
func (r *records) handshake(payload []byte) error {
	r.warnings = 0
	if r.have == 0 {
		r.start, r.first = r.pos+recordHeader, len(payload)
	}
	if r.have < messageHeader {
		copy(r.head[r.have:], payload)
	}
	r.have += len(payload)
	if r.need > 0 || r.have < messageHeader {
		return nil
	}
	if r.head[0] != typeClientHello {
		return errUnexpected
	}
	r.need = messageHeader + int(r.head[1])<<16 + int(r.head[2])<<8 + int(r.head[3])
	return nil
}

// alert takes the payload of an alert record. A few warnings are passed over;
// anything else ends the connection.
func (r *records) alert(payload []byte) error {
	r.warnings++
	switch {
	case payload[1] == closeNotify, payload[0] == levelFatal:
		return errPeerEnded
	case payload[0] != levelWarning, r.warnings > maxWarnings:
		return errUnexpected
	}
	return nil
}

// message returns the handshake message, after advance has returned nil: a
// part of b if one record holds it, else a copy put together.
func (r *records) message(b []byte) []byte {
	if r.first >= r.need {
		return b[r.start : r.start+r.need]
	}
	msg := make([]byte, 0, r.have) // all of it is in b
	for b = b[:r.pos]; len(b) > 0; {
		n := recordHeader + int(b[3])<<8 + int(b[4])
		if b[0] == recordHandshake {
			msg = append(msg, b[recordHeader:n]...)
		}
		b = b[n:]
	}
	return msg[:r.need]
}
