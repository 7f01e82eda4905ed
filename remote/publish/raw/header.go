package raw

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"
	"github.com/pires/go-proxyproto/tlvparse"

	"keystay/internal/publicaddr"
)

// ownHeader is the PROXY protocol header for a connection that is of no visitor.
func (t *Target) ownHeader() ([]byte, error) {
	if t.ProxyProtocol == 0 {
		return nil, nil
	}
	return t.format(proxyproto.HeaderProxyFromAddrs(byte(t.ProxyProtocol), nil, nil))
}

// header is the PROXY protocol header for a visitor, or nothing where the service
// wants none. The address that it names as the destination is the one that the
// visitor came to, as far as that is known.
func (t *Target) header(c net.Conn) ([]byte, error) {
	if t.ProxyProtocol == 0 {
		return nil, nil
	}
	source := t.source(c)
	h := proxyproto.HeaderProxyFromAddrs(byte(t.ProxyProtocol), source, destination(c, source))
	h.Command = proxyproto.PROXY
	if t.ProxyProtocol == 2 {
		tlvs, err := t.tlvs(c)
		if err == nil {
			err = h.SetTLVs(tlvs)
		}
		if err != nil {
			return nil, fmt.Errorf("encode PROXY header: %w", err)
		}
	}
	return t.format(h)
}

func (t *Target) format(h *proxyproto.Header) ([]byte, error) {
	if t.ProxyProtocol < 0 || t.ProxyProtocol > 2 {
		return nil, fmt.Errorf("there is no version %d of the PROXY protocol", t.ProxyProtocol)
	}
	b, err := h.Format()
	if err != nil {
		return nil, fmt.Errorf("encode PROXY header: %w", err)
	}
	return b, nil
}

// nobody is the address of a visitor whose own is not known or is not to be told:
// IANA's dummy address (RFC 7600, section 4.8). The header could also say UNKNOWN,
// or LOCAL. But then the service goes by the connection's own address, which is
// this device's, and trusts the visitor with what it trusts this device with.
var nobody = netip.AddrFrom4([4]byte{192, 0, 0, 8})

// source is the visitor's address as the service is told it.
func (t *Target) source(c net.Conn) *net.TCPAddr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(nobody, 0))
	}
	ap := a.AddrPort()
	ip := ap.Addr().Unmap().WithZone("")
	if !ip.IsValid() || !t.TrustPrivateAddresses && !publicaddr.Is(ip) {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(nobody, 0))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, ap.Port()))
}

// destination is where the visitor came to, and all zeros of the family of source
// where that is not known.
func destination(c net.Conn, source *net.TCPAddr) *net.TCPAddr {
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok && a.AddrPort().Addr().IsValid() {
		return a
	}
	if source.IP.To4() != nil {
		return &net.TCPAddr{IP: net.IPv4zero}
	}
	return &net.TCPAddr{IP: net.IPv6zero}
}

// tlvs are what version 2 says beside addresses: the name, and of a visitor whose
// TLS was ended here, the protocol and the kind of TLS. A certificate of the
// visitor's is not told: nothing here has verified it.
func (t *Target) tlvs(c net.Conn) (tlvs []proxyproto.TLV, err error) {
	name := t.Name
	tc, ended := c.(*tls.Conn)
	var state tls.ConnectionState
	if ended {
		state = tc.ConnectionState()
		if name == "" {
			name = state.ServerName
		}
	}
	if name != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte(name)})
	}
	if !ended {
		return tlvs, nil
	}
	if p := state.NegotiatedProtocol; p != "" {
		tlvs = append(tlvs, proxyproto.TLV{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte(p)})
	}
	ssl := tlvparse.PP2SSL{
		Client: tlvparse.PP2_BITFIELD_CLIENT_SSL,
		Verify: 1, // no certificate was verified
		TLV: []proxyproto.TLV{
			{Type: proxyproto.PP2_SUBTYPE_SSL_VERSION, Value: []byte(sslVersion(state.Version))},
			{Type: proxyproto.PP2_SUBTYPE_SSL_CIPHER, Value: []byte(tls.CipherSuiteName(state.CipherSuite))},
		},
	}
	tlv, err := ssl.Marshal()
	return append(tlvs, tlv), err
}

// sslVersion is a version of TLS as OpenSSL, and so every other sender of this
// header, spells it: "TLSv1.3".
func sslVersion(v uint16) string { return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1) }
