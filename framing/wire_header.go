package framing

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"golang.org/x/crypto/cryptobyte"

	"keystay/internal/hostname"
)

// A Kind says what the bytes of a stream are.
type Kind uint8

const (
	// KindTLS is a visitor's TLS connection from its first byte.
	KindTLS Kind = 0
	// KindHTTP01 is an HTTP/1.1 connection that carries one ACME HTTP-01
	// request (RFC 8555, section 8.3).
	KindHTTP01 Kind = 1
	// KindTCP is the TCP connection of a visitor of a public port, see PortName, from
	// its first byte.
	KindTCP Kind = 2
)

// A Header tells a remote whose connection a stream carries. On the wire it is
// a PROXY protocol v2 header.
type Header struct {
	Name   string         // the public name, normalised; at the remote, for a port, the name that it was claimed by
	As     string         // what the remote gets for Name, where that is another one; only a relay sets it
	Kind   Kind           //
	ID     [16]byte       // the same in both programs' logs
	Source netip.AddrPort // the visitor
	Dest   netip.AddrPort // the relay's address that it came to
	Lane   LaneOffer      // where the visitor can be taken from a hop; the zero value where it has made none
}

// A LaneOffer says that a visitor has come in at another node of the relay than the
// one that the link leads to, and that a lane can be had there: see Stream.Take. The
// token is a secret.
type LaneOffer struct {
	Node  string // its name, as in Nodes; at most 63 bytes. Empty: there is no offer
	Token LaneToken
}

// typeKind is the TLV of a Header's Kind, in the range that the PROXY protocol
// leaves to applications.
const typeKind proxyproto.PP2Type = 0xE0

// typeLane is the TLV of a Header's Lane: the token, and the node (str8).
const typeLane proxyproto.PP2Type = 0xE1

// How a PROXY v2 header begins: its signature, and version 2 with the command PROXY.
const proxyBegin = "\r\n\r\n\x00\r\nQUIT\n\x21"

// The families of a PROXY v2 header, with TCP.
const (
	proxyTCP4 = 0x11
	proxyTCP6 = 0x21
)

// record is HEADER. It is written by hand and not by package proxyproto, which takes
// longer: each new visitor waits for it.
func (h *Header) record() ([]byte, error) {
	source, dest := h.Source.Addr().Unmap(), h.Dest.Addr().Unmap()
	if !source.IsValid() || !dest.IsValid() {
		return nil, errors.New("encode header: no address")
	}
	b := make([]byte, recordHeader, 192)
	b = append(b, proxyBegin...)
	if source.Is4() && dest.Is4() {
		b = append(b, proxyTCP4, 0, 0)
		b = append(b, source.AsSlice()...)
		b = append(b, dest.AsSlice()...)
	} else {
		from, to := source.As16(), dest.As16()
		b = append(b, proxyTCP6, 0, 0)
		b = append(append(b, from[:]...), to[:]...)
	}
	b = binary.BigEndian.AppendUint16(b, h.Source.Port())
	b = binary.BigEndian.AppendUint16(b, h.Dest.Port())
	b = appendTLV(b, proxyproto.PP2_TYPE_AUTHORITY, cmp.Or(h.As, h.Name))
	b = appendTLV(b, proxyproto.PP2_TYPE_UNIQUE_ID, string(h.ID[:]))
	b = appendTLV(b, typeKind, string([]byte{byte(h.Kind)}))
	if o := &h.Lane; o.Node != "" {
		if len(o.Node) > maxNodeName {
			return nil, fmt.Errorf("encode header: a node with a name of %d bytes", len(o.Node))
		}
		b = appendTLV(b, typeLane, string(o.Token[:])+string([]byte{byte(len(o.Node))})+o.Node)
	}
	n := len(b) - recordHeader
	if n > maxHeader {
		return nil, fmt.Errorf("encode header: %d bytes", n)
	}
	b[0] = byte(recHeader)
	binary.BigEndian.PutUint16(b[1:], uint16(n))
	fixed := recordHeader + len(proxyBegin) + 3
	binary.BigEndian.PutUint16(b[fixed-2:], uint16(len(b)-fixed))
	return b, nil
}

// MarshalBinary returns the header as it is on the wire, but for the head of its record,
// for a relay that passes a visitor on to another of its nodes; at most 1,024 bytes.
func (h *Header) MarshalBinary() ([]byte, error) {
	b, err := h.record()
	if err != nil {
		return nil, err
	}
	return b[recordHeader:], nil
}

// UnmarshalBinary is the reverse of MarshalBinary. Its error is an [ErrProtocol].
func (h *Header) UnmarshalBinary(b []byte) (err error) {
	if len(b) > maxHeader {
		return protocolErrorf("HEADER of %d bytes", len(b))
	}
	*h, err = parseHeader(b)
	return err
}

func appendTLV(b []byte, t proxyproto.PP2Type, value string) []byte {
	b = append(b, byte(t))
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func parseHeader(b []byte) (Header, error) {
	var h Header
	r := bytes.NewReader(b)
	p, err := proxyproto.Read(bufio.NewReaderSize(r, maxHeader))
	if err != nil {
		return h, protocolErrorf("HEADER: %v", err)
	}
	if p.Version != 2 || p.Command != proxyproto.PROXY {
		return h, protocolErrorf("HEADER is not a PROXY v2 header")
	}
	src, dst, ok := p.TCPAddrs()
	if !ok {
		return h, protocolErrorf("HEADER without TCP addresses")
	}
	h.Source, h.Dest = unmap(src.AddrPort()), unmap(dst.AddrPort())
	tlvs, err := p.TLVs()
	if err != nil {
		return h, protocolErrorf("HEADER: %v", err)
	}
	for _, t := range tlvs {
		switch t.Type {
		case proxyproto.PP2_TYPE_AUTHORITY:
			h.Name = string(t.Value)
		case proxyproto.PP2_TYPE_UNIQUE_ID:
			copy(h.ID[:], t.Value)
		case typeKind:
			if len(t.Value) != 1 {
				return h, protocolErrorf("HEADER with a kind of %d bytes", len(t.Value))
			}
			h.Kind = Kind(t.Value[0])
		case typeLane:
			if h.Lane, ok = parseLaneOffer(t.Value); !ok {
				return h, protocolErrorf("HEADER with a lane offer of %d bytes", len(t.Value))
			}
		}
	}
	if h.Name == "" || len(h.Name) > hostname.Max {
		return h, protocolErrorf("HEADER with a name of %d bytes", len(h.Name))
	}
	return h, nil
}

func parseLaneOffer(b []byte) (o LaneOffer, ok bool) {
	var node []byte
	s := cryptobyte.String(b)
	if !s.CopyBytes(o.Token[:]) || !readStr8(&s, &node) || len(node) == 0 || len(node) > maxNodeName || !prints(string(node)) {
		return LaneOffer{}, false
	}
	o.Node = string(node)
	return o, true
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func tcpAddr(a netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(a) }
