package publish

import (
	"net"
	"strings"
	"testing"
)

// A relay can say that a visitor comes from anywhere. An address that no visitor
// from the internet has, or that has an IPv4 address inside, is told to the
// service only where the relay is trusted in this.
func TestAddressesThatAreNotPublicAreUnknown(t *testing.T) {
	private := strings.Fields(`127.0.0.1 127.9.9.9 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.10 169.254.169.254 0.0.0.0 0.1.2.3 100.64.0.1 100.127.255.255
		192.0.0.1 192.0.0.171 192.0.2.7 198.51.100.1 203.0.113.255 192.88.99.1 198.18.0.1 198.19.255.255 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
		:: ::1 ::ffff:127.0.0.1 ::ffff:192.168.1.10 ::ffff:203.0.113.1 ::127.0.0.1 ::8.8.8.8 ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd12:3456::1 ff02::1 ff0e::1
		64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::c0a8:10a 100::1 100:0:0:1::1 1::1 4000::1 5f00::1 1fff:ffff::1 e000::1
		2001::1 2001:0:0:0:0:0:3f57:fef5 2001:2::1 2001:10::1 2001:20::1 2001:1ff:ffff::1 2001:db8::7 2001:db8:ffff::1 2002:7f00:1:: 2002:c0a8:10a::1 2002:808:808::1 3fff::1 3fff:fff::1
		fe80::5efe:127.0.0.1 2606:4700::5efe:127.0.0.1 2606:4700::200:5efe:10.0.0.1 2606:4700::5efe:8.8.8.8`)
	public := strings.Fields(`8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 128.0.0.1 169.253.0.1 172.15.0.1 172.32.0.1 191.255.255.255 192.0.1.1 192.0.3.1 192.167.255.255 192.169.0.1
		198.17.255.255 198.20.0.1 198.51.101.1 203.0.114.1 223.255.255.255 ::ffff:8.8.8.8
		2000::1 2001:200::1 2001:db7::1 2001:db9::1 2001:4860:4860::8888 2003::1 2606:4700::1 2a00:1450::5eff:1 3ffe::1 3fff:1000::1`)
	closed, open := &Target{}, &Target{TrustPrivateAddresses: true}
	for _, ip := range private {
		addr := net.JoinHostPort(ip, "4711")
		if got := closed.visitorAddress(addr); got != "unknown" {
			t.Errorf("%s is told as %s", ip, got)
		}
		if got := open.visitorAddress(addr); got == "unknown" {
			t.Errorf("%s, which is trusted, is told as unknown", ip)
		}
	}
	for _, ip := range public {
		if got := closed.visitorAddress(net.JoinHostPort(ip, "4711")); got != strings.TrimPrefix(ip, "::ffff:") {
			t.Errorf("%s is told as %s", ip, got)
		}
	}
	for _, other := range []string{"", "@", "localhost:80", "8.8.4.4"} {
		if got := open.visitorAddress(other); got != "unknown" {
			t.Errorf("%q is told as %s", other, got)
		}
	}
}

func TestForwardedFieldIsWellFormed(t *testing.T) {
	for visitor, want := range map[string]string{
		"192.0.2.7":   `for=192.0.2.7;host="xyz.relay.test:8443";proto=https`,
		"2001:db8::7": `for="[2001:db8::7]";host="xyz.relay.test:8443";proto=https`,
		"unknown":     `for=unknown;host="xyz.relay.test:8443";proto=https`,
	} {
		if got := forwarded(visitor, "xyz.relay.test:8443"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
