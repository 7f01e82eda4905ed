package framing

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Minor is the newest minor version of the protocol that this package speaks.
const Minor = 1

// Protocol is the ALPN protocol name of a link (RFC 7301). Its digit is the
// major version.
const Protocol = "keystay/1"

// Limits of the protocol, each named in PROTOCOL.md.
const (
	// HelloTimeout is how long a relay waits for HELLO, and a remote for its answer.
	HelloTimeout = 10 * time.Second
	// PingInterval is how often a remote sends PING.
	PingInterval = 12 * time.Second
	// SilenceLimit is how long a side hears nothing before it gives the link up.
	SilenceLimit = 18 * time.Second
	// WriteTimeout is how long a write to the link may make no progress; where
	// the link does not run on a [BufferedConn], how long it may take.
	WriteTimeout = 10 * time.Second
	// OrderTime is the longest turn to order a certificate, see Link.Order.
	OrderTime = 10 * time.Minute
	// MaxNames is how many names one link may hold.
	MaxNames = 64
	// MaxStreams is how many streams may be open on one link.
	MaxStreams = 4096
	// InitialCredit is what each direction of a stream may carry before any
	// CREDIT, in bytes.
	InitialCredit = 16 << 10
	// MaxCredit is the most credit that may stand open, in bytes.
	MaxCredit = 16 << 20

	maxControl = 4096         // payload of a link record that maxPayload does not name
	maxMux     = 1<<16 - 1    // payload of MUX
	maxHeader  = 1024         // payload of HEADER
	maxData    = 16 << 10     // payload of DATA
	maxDenied  = 2 * MaxNames // claims that a relay denies before it ends the link
	maxSmall   = 64           // payload of the other stream records, and of some link records
	maxQueued  = 64 << 10     // control records waiting to be written on one link
)

// recordHeader is the size of the type and length in front of each payload, of
// link records and stream records alike.
const recordHeader = 3

// optional is the lowest type that a receiver skips when it does not know it.
const optional = 0x80

type recordType uint8

// Link records.
const (
	recHello     recordType = 0x01
	recWelcome   recordType = 0x02
	recRefused   recordType = 0x03
	recClaim     recordType = 0x04
	recClaimed   recordType = 0x05
	recDenied    recordType = 0x06
	recLost      recordType = 0x07
	recOrder     recordType = 0x08
	recOrderTurn recordType = 0x09
	recPing      recordType = 0x10
	recPong      recordType = 0x11
	recGoAway    recordType = 0x12
	recGoAwayAck recordType = 0x13
	recStartMux  recordType = 0x20
	recMux       recordType = 0x21

	recLanesWanted recordType = 0x30
	recLaneTokens  recordType = 0x31
	recLaneReset   recordType = 0x32
)

// Stream records.
const (
	recHeader recordType = 0x01
	recData   recordType = 0x02
	recEnd    recordType = 0x03
	recReset  recordType = 0x04
	recCredit recordType = 0x05
	recSwitch recordType = 0x06
)

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
		return 0, nil, noEOF(err)
	}
	return t, p, nil
}

// noEOF turns an EOF in the middle of something into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
