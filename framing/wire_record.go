package framing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"

	"keystay/internal/socket"
)

// Minor is the newest minor version of the protocol that this package speaks.
const Minor = 4

// Protocol is the ALPN protocol name of a link (RFC 7301). Its digit is the
// major version.
const Protocol = "keystay/1"

// The largest payloads of records, in bytes. Each other limit of the protocol
// stands beside its rule, and by its name in PROTOCOL.md.
const (
	maxControl = 4096      // of a link record that maxPayload does not name
	maxMux     = 1<<16 - 1 // of MUX
	maxNodes   = 32 << 10  // of NODES
	maxClaim   = 6 << 10   // of CLAIM; a relay of a minor version before 4 takes maxControl, which all but its siblings fit in
	maxHeader  = 1024      // of HEADER
	maxData    = 16 << 10  // of DATA
	maxSmall   = 64        // of the other stream records, and of some link records
)

// recordHeader is the size of the type and length in front of each payload, of
// link records and stream records alike.
const recordHeader = 3

// optional is the lowest type that a receiver skips when it does not know it.
const optional = 0x80

type recordType uint8

// Link records, with their payloads. A number in brackets is a size in bytes;
// str8 and str16 have a length of one or two bytes in front.
const (
	recHello     recordType = 0x01 // minor (1) capabilities (4) public key (32) signature (64) run number (8) run id (16) agent (str8)
	recWelcome   recordType = 0x02 // minor (1) capabilities (4) public port (2) agent (str8) names (2)
	recRefused   recordType = 0x03 // code (2) text (str16)
	recClaim     recordType = 0x04 // name (str8) token (str16) flags (1) rules (str16) hand-overs (str16) word (str8)
	recClaimed   recordType = 0x05 // name (str8) order in s (4)
	recDenied    recordType = 0x06 // name (str8) code (2) text (str16) hint (str16) retry in s (4)
	recLost      recordType = 0x07 // the same
	recOrder     recordType = 0x08 // name (str8) 1 begins, 0 ends (1)
	recOrderTurn recordType = 0x09 // name (str8) 1 granted, 0 not now (1)
	recRelease   recordType = 0x0a // name (str8)
	recReleased  recordType = 0x0b // name (str8) 1 released, 0 refused, 2 not now (1) text (str16)
	recUnclaim   recordType = 0x0c // name (str8)
	recUnclaimed recordType = 0x0d // name (str8)
	recNodes     recordType = 0x0e // own node (str8) entries (str16), see Nodes
	recPing      recordType = 0x10 // clock in µs (4) last round-trip time in µs (4)
	recPong      recordType = 0x11 // the payload of PING
	recGoAway    recordType = 0x12 // code (2) time in ms (4) text (str16)
	recGoAwayAck recordType = 0x13 // nothing
	recStartMux  recordType = 0x20 // smux version (1)
	recMux       recordType = 0x21 // bytes of the session

	recLanesWanted recordType = 0x30 // how many (1)
	recLaneTokens  recordType = 0x31 // tokens (32 each)
	recLaneReset   recordType = 0x32 // stream id (4)

	recPadding recordType = 0x80 // bytes that mean nothing
)

// Stream records, with their payloads. RETURN is one only where both sides have named
// CapabilityReturn.
const (
	recHeader recordType = 0x01 // PROXY protocol v2 header, see Header
	recData   recordType = 0x02 // bytes of the visitor's connection
	recEnd    recordType = 0x03 // nothing
	recReset  recordType = 0x04 // code (2)
	recCredit recordType = 0x05 // bytes (4)
	recSwitch recordType = 0x06 // bytes of DATA before it (8)
	recReturn recordType = 0x80 // bytes (4)
)

// A ResetCode says why a stream was reset.
type ResetCode uint16

// The reasons of a reset.
const (
	ResetCancel  ResetCode = 0 // the connection behind the stream broke
	ResetRefused ResetCode = 1 // the remote does not take the stream
	ResetClosed  ResetCode = 2 // data arrived for a closed stream
)

// A ResetError is the error of a stream that the other side reset. It is a
// syscall.ECONNRESET to errors.Is.
type ResetError struct{ Code ResetCode }

func (e *ResetError) Error() string {
	return fmt.Sprintf("stream reset by the other side (code %d)", e.Code)
}

// Is makes a ResetError equal to the error of a reset TCP connection.
func (e *ResetError) Is(target error) bool { return target == syscall.ECONNRESET }

// ErrProtocol is wrapped by every error that says the other side broke the
// protocol. It ends the link.
var ErrProtocol = errors.New("protocol violation")

func protocolErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// appendRecord appends a whole record to b.
func appendRecord(b []byte, t recordType, payload []byte) []byte {
	b = append(b, byte(t), byte(len(payload)>>8), byte(len(payload)))
	return append(b, payload...)
}

// maxPayload is the largest payload of a link record, in bytes.
func maxPayload(t recordType) int {
	switch t {
	case recPing, recPong:
		return 8
	case recGoAwayAck:
		return 0
	case recStartMux:
		return 16
	case recLanesWanted, recLaneReset:
		return maxSmall
	case recLaneTokens:
		return MaxSpareLanes * laneTokenSize
	case recNodes:
		return maxNodes
	case recClaim:
		return maxClaim
	case recMux:
		return maxMux
	}
	return maxControl
}

// parseRecordHeader splits the three bytes in front of a payload.
func parseRecordHeader(h []byte) (recordType, int) {
	return recordType(h[0]), int(binary.BigEndian.Uint16(h[1:]))
}

// readRecord reads one link record that is not MUX.
func readRecord(r io.Reader) (recordType, []byte, error) {
	var h [recordHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	t, n := parseRecordHeader(h[:])
	if n > maxPayload(t) {
		return 0, nil, protocolErrorf("record 0x%02x of %d bytes", t, n)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(r, p); err != nil {
		return 0, nil, socket.NoEOF(err)
	}
	return t, p, nil
}
