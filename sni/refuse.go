package sni

import (
	"fmt"
	"io"
	"net"
	"time"
)

// An Alert is the description of a TLS alert (RFC 8446, section 6).
type Alert uint8

// The alerts that end a connection before it has an owner.
const (
	AlertUnexpectedMessage Alert = 10  // a record or message of another type
	AlertRecordOverflow    Alert = 22  // a record of more than 2^14 bytes
	AlertAccessDenied      Alert = 49  // the name is not for this visitor
	AlertDecodeError       Alert = 50  // the hello could not be parsed
	AlertProtocolVersion   Alert = 70  // SSLv2, or no version of TLS that there is
	AlertInternalError     Alert = 80  // the name is known, but nobody can serve it now
	AlertUnrecognizedName  Alert = 112 // no such name here (RFC 6066, section 3)
)

// String returns the alert's name as it stands in the RFC, such as
// "unrecognized_name".
func (a Alert) String() string {
	switch a {
	case AlertUnexpectedMessage:
		return "unexpected_message"
	case AlertRecordOverflow:
		return "record_overflow"
	case AlertProtocolVersion:
		return "protocol_version"
	case AlertAccessDenied:
		return "access_denied"
	case AlertDecodeError:
		return "decode_error"
	case AlertInternalError:
		return "internal_error"
	case AlertUnrecognizedName:
		return "unrecognized_name"
	}
	return fmt.Sprintf("alert(%d)", uint8(a))
}

const (
	// RefuseTimeout is the longest that Refuse takes.
	RefuseTimeout = time.Second

	// MaxDrain is the most bytes that Refuse reads and throws away: 64 KiB.
	MaxDrain = 64 << 10
)

// Conn is a connection whose writing side can be closed alone, like
// [net.TCPConn].
type Conn interface {
	net.Conn

	// CloseWrite sends the end of the stream and leaves reading open.
	CloseWrite() error
}

// Refuse tells the peer by a fatal alert that its ClientHello leads nowhere,
// and closes c.
//
// A TCP connection closed while bytes are unread is reset, and the reset can
// destroy an alert that the peer has not read yet. So Refuse ends the writing
// side first, then reads until the peer has closed too, but for no longer than
// RefuseTimeout and no more than MaxDrain bytes; a peer that exceeds them may
// see the reset. For the same reason SO_LINGER must not be set to zero on c.
//
// Refuse reports no error: the connection is over in any case.
func Refuse(c Conn, alert Alert) {
	// TLSPlaintext of RFC 8446, section 5.1, with the version that all records
	// but a first ClientHello carry.
	lastWord(c, []byte{recordAlert, 3, 3, 0, 2, levelFatal, byte(alert)})
}

// Leave closes c in good order so that what was written to it arrives, as Refuse does.
func Leave(c Conn) { lastWord(c, nil) }

// lastWord writes p, and closes c so that p arrives, as Refuse says.
func lastWord(c Conn, p []byte) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(RefuseTimeout)) != nil {
		return
	}
	if len(p) > 0 {
		if _, err := c.Write(p); err != nil {
			return
		}
	}
	if c.CloseWrite() != nil {
		return
	}
	// How the drain ends makes no difference: by EOF, error, time or amount.
	_, _ = io.CopyN(io.Discard, c, MaxDrain)
}
