package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"keystay/internal/hostname"
	"keystay/internal/publicaddr"
)

const (
	forHome = "home" // of a record: it leads visitors from everywhere straight to the device
	forLAN  = "lan"  // of a record: it does so in the device's own network, whose DNS has it
)

// homeRecords are the records that lead visitors straight to the device, which listens on
// these addresses and has those interfaces. Has is what DNS says of the domain.
func homeRecords(domain string, listen []string, interfaces, has []netip.Addr) (list []record) {
	for _, a := range homeAddresses(listen, interfaces) {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		r := record{For: forLAN, Name: domain, Type: kind, Value: a.String(), There: slices.Contains(has, a)}
		if publicaddr.Is(a) {
			r.For = forHome
		}
		list = append(list, r)
	}
	return list
}

// homeAddresses are the addresses at which a device with these interfaces can be reached
// that listens so, without those that lead nobody here.
func homeAddresses(listen []string, interfaces []netip.Addr) (list []netip.Addr) {
	for _, l := range listen {
		host, _, _ := net.SplitHostPort(l)
		at, err := netip.ParseAddr(host)
		for _, a := range interfaces {
			is := host == "" || err == nil && (at.Unmap() == a || at.IsUnspecified() && (at.Is6() || a.Is4()))
			if is && !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	return list
}

// interfaceAddresses are those of this machine that others may reach, but for those of
// IPv6 that change by themselves (RFC 8981), where the system tells.
func interfaceAddresses() (list []netip.Addr) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	passing := passingAddresses("/proc/net/if_inet6")
	for _, one := range all {
		p, err := netip.ParsePrefix(one.String())
		a := p.Addr().Unmap()
		if err == nil && a.IsGlobalUnicast() && !slices.Contains(passing, a) {
			list = append(list, a)
		}
	}
	return list
}

// passingAddresses are the temporary ones in a file like Linux's /proc/net/if_inet6.
func passingAddresses(file string) (list []netip.Addr) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	const temporary = 0x01 // IFA_F_TEMPORARY
	for s := bufio.NewScanner(f); s.Scan(); {
		var digits, index, bits, scope, name string
		var flags int
		if n, _ := fmt.Sscanf(s.Text(), "%s %s %s %s %x %s", &digits, &index, &bits, &scope, &flags, &name); n < 5 || flags&temporary == 0 || len(digits) != 32 {
			continue
		}
		var groups []string
		for i := 0; i < 32; i += 4 {
			groups = append(groups, digits[i:i+4])
		}
		if a, err := netip.ParseAddr(strings.Join(groups, ":")); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// home says which records lead straight to this device, where it listens.
func (l *look) home(listen []string) {
	if len(listen) == 0 {
		return
	}
	_, l.homePort, _ = net.SplitHostPort(listen[0])
	interfaces := interfaceAddresses()
	l.own = homeAddresses(listen, interfaces)
	l.Records = append(l.Records, homeRecords(l.Domain, listen, interfaces, l.has)...)
}

// writeHome shows the records that lead visitors straight to the device.
func (r *records) writeHome(w io.Writer) {
	show := func(purpose, title, none string) {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "\n%s\n", title)
		some := false
		for _, rec := range r.Records {
			if rec.For != purpose {
				continue
			}
			there := "-"
			if rec.There && purpose == forHome {
				there = "there"
			}
			some = true
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", there, rec.Name, rec.Type, rec.Value)
		}
		_ = t.Flush() // as with any print
		if !some {
			fmt.Fprintf(w, "  %s\n", none)
		}
	}
	show(forLAN, "In the DNS of your own network, these lead its visitors straight to this device (split DNS)", "none: it has no private address at which it listens")
	if !r.isRelays() {
		show(forHome, "In public DNS, beside the relay's A records and no CNAME, these lead visitors straight to this device", "none: it has no public address of its own at which it listens; where the router forwards a port to it, that is the router's")
	}
	if port := r.homePort; port != "443" {
		fmt.Fprintf(w, "Visitors look for port 443: forward it to %s, or leave these records out.\n", port)
	}
}

// isRelays reports whether the name is one that a relay gives out, and the relay's operator
// has its public records.
func (r *records) isRelays() bool {
	return slices.ContainsFunc(r.Relays, func(relay string) bool { return hostname.IsBelow(r.Domain, relay) })
}
