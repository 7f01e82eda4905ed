package framing

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

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
)

// A Header tells a remote whose connection a stream carries. On the wire it is
// a PROXY protocol v2 header.
type Header struct {
	Name   string         // the public name, normalised
	Kind   Kind           //
	ID     [16]byte       // the same in both programs' logs
	Source netip.AddrPort // the visitor
	Dest   netip.AddrPort // the relay's address that it came to
}

// typeKind is the TLV of a Header's Kind, in the range that the PROXY protocol
// leaves to applications.
const typeKind proxyproto.PP2Type = 0xE0

func (h *Header) record() ([]byte, error) {
	p := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(h.Source), net.TCPAddrFromAddrPort(h.Dest))
	p.Command = proxyproto.PROXY
	err := p.SetTLVs([]proxyproto.TLV{
		{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(h.Name)},
		{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: h.ID[:]},
		{Type: typeKind, Value: []byte{byte(h.Kind)}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	b, err := p.Format()
	if err != nil {
		return nil, fmt.Errorf("encode header: %w", err)
	}
	if len(b) > maxHeader {
		return nil, fmt.Errorf("encode header: %d bytes", len(b))
	}
	return appendRecord(nil, recHeader, b), nil
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
		}
	}
	if h.Name == "" || len(h.Name) > hostname.Max {
		return h, protocolErrorf("HEADER with a name of %d bytes", len(h.Name))
	}
	return h, nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func tcpAddr(a netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(a) }
