package domainproof

import (
	"bytes"
	"encoding/binary"
	"net"

	"github.com/miekg/dns"
)

// typeBlank is a type for private use (RFC 6895, section 3.1): package dns takes whatever is
// in a record of it.
const typeBlank = 65280

// readHTTPS reads the HTTPS records (RFC 9460) of an answer, each by its place among the
// records there, and returns a packet that has none: package dns refuses an answer whole for
// what browsers pass over in one of them. A record whose target cannot be read is no
// *dns.HTTPS, but a *dns.RFC3597.
func readHTTPS(packet []byte) (rest []byte, https map[int]dns.RR) {
	rest, https = bytes.Clone(packet), make(map[int]dns.RR)
	if len(packet) < 12 {
		return rest, https
	}
	count := func(section int) int { return int(binary.BigEndian.Uint16(packet[4+2*section:])) }
	off := 12
	for range count(0) {
		_, end, err := dns.UnpackDomainName(packet, off)
		if err != nil || end+4 > len(packet) {
			return rest, https // nor can package dns read it
		}
		off = end + 4
	}
	for i := range count(1) + count(2) + count(3) {
		name, at, err := dns.UnpackDomainName(packet, off)
		if err != nil || at+10 > len(packet) {
			return rest, https
		}
		h := dns.RR_Header{Name: name, Rrtype: binary.BigEndian.Uint16(packet[at:]), Class: binary.BigEndian.Uint16(packet[at+2:])}
		begin := at + 10
		if off = begin + int(binary.BigEndian.Uint16(packet[at+8:])); off > len(packet) {
			return rest, https
		}
		if h.Rrtype == dns.TypeHTTPS {
			binary.BigEndian.PutUint16(rest[at:], typeBlank)
			if i < count(1) {
				https[i] = httpsOf(h, packet[:off], begin)
			}
		}
	}
	return rest, https
}

// httpsOf reads the data of a record, which begin in a packet and last to its end. Of the
// parameters it takes those that say where the record leads, whatever is beside them.
func httpsOf(h dns.RR_Header, packet []byte, begin int) dns.RR {
	if begin+2 > len(packet) {
		return &dns.RFC3597{Hdr: h}
	}
	target, at, err := dns.UnpackDomainName(packet, begin+2)
	if err != nil {
		return &dns.RFC3597{Hdr: h}
	}
	https := &dns.HTTPS{SVCB: dns.SVCB{Hdr: h, Priority: binary.BigEndian.Uint16(packet[begin:]), Target: target}}
	for params := packet[at:]; len(params) >= 4; {
		key, size := dns.SVCBKey(binary.BigEndian.Uint16(params)), int(binary.BigEndian.Uint16(params[2:]))
		if params = params[4:]; size > len(params) {
			break
		}
		value := params[:size]
		params = params[size:]
		switch key {
		case dns.SVCB_PORT:
			if size == 2 {
				https.Value = append(https.Value, &dns.SVCBPort{Port: binary.BigEndian.Uint16(value)})
			}
		case dns.SVCB_IPV4HINT:
			https.Value = append(https.Value, &dns.SVCBIPv4Hint{Hint: addresses(value, net.IPv4len)})
		case dns.SVCB_IPV6HINT:
			https.Value = append(https.Value, &dns.SVCBIPv6Hint{Hint: addresses(value, net.IPv6len)})
		}
	}
	return https
}

// addresses are those in a value that are whole, each of so many bytes.
func addresses(value []byte, size int) (all []net.IP) {
	for ; len(value) >= size; value = value[size:] {
		all = append(all, bytes.Clone(value[:size]))
	}
	return all
}
