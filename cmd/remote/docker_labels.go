package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"keystay/config"
	"keystay/internal/engine"
	"keystay/internal/hint"
)

// labelPrefix begins the labels of containers.
const labelPrefix = "keystay."

// labelWords are the labels behind it.
var labelWords = []string{"domain", "name", "network", "port", "scheme"}

// schemes are what keystay.scheme may say.
var schemes = []string{"http", "https", "https+insecure", "h2c", "tcp", "tls"}

// given is what the labels of a container say. It reports whether there are any.
func (c *containers) given(one engine.Container) (g config.Given, ok bool, err error) {
	said := make(map[string]string)
	for _, label := range slices.Sorted(maps.Keys(one.Labels)) {
		word, ours := strings.CutPrefix(label, labelPrefix)
		if !ours {
			continue
		}
		ok = true
		if !slices.Contains(labelWords, word) {
			return g, true, unknownLabel(label, word)
		}
		said[word] = strings.TrimSpace(one.Labels[label])
	}
	if !ok {
		return g, false, nil
	}
	for word, list := range map[string]*[]string{"domain": &g.Domains, "name": &g.Words} {
		for part := range strings.SplitSeq(said[word], ",") {
			if part = strings.TrimSpace(part); part != "" {
				*list = append(*list, part)
			}
		}
	}
	if len(g.Domains)+len(g.Words) == 0 {
		g.Words = []string{""}
	}
	scheme := cmp.Or(said["scheme"], "http")
	if !slices.Contains(schemes, scheme) {
		return g, true, hint.ContainerWrong.Error(fmt.Errorf("keystay.scheme: %q is none of %s", scheme, strings.Join(schemes, ", ")))
	}
	port, err := portIn(one, said["port"])
	if err != nil {
		return g, true, hint.ContainerWrong.Error(err)
	}
	address, err := c.address(one, port, said["network"])
	if err != nil {
		return g, true, hint.ContainerWrong.Error(err)
	}
	g.Local = scheme + "://" + address
	return g, true, nil
}

func unknownLabel(label, word string) error {
	err := fmt.Errorf("%s is no label that is known", label)
	if near := hint.Nearest(word, labelWords); near != "" {
		err = fmt.Errorf("%s is no label that is known: did you mean %s%s?", label, labelPrefix, near)
	}
	return hint.ContainerWrong.Error(err)
}

// portIn is the container's port: the one that is said, else the only one that it exposes.
func portIn(one engine.Container, said string) (int, error) {
	if said != "" {
		n, err := strconv.ParseUint(said, 10, 16)
		if err != nil || n == 0 {
			return 0, fmt.Errorf("keystay.port: %q is no port", said)
		}
		return int(n), nil
	}
	var ports []int
	for _, p := range one.Ports {
		if p.Type == "tcp" && !slices.Contains(ports, p.PrivatePort) {
			ports = append(ports, p.PrivatePort)
		}
	}
	if len(ports) == 1 {
		return ports[0], nil
	}
	slices.Sort(ports)
	return 0, fmt.Errorf("keystay.port is missing: it exposes %d ports %v, not one", len(ports), ports)
}

// address is where the container's port is reached. From the machine that is first where
// it is published, which also rootless engines and those in a virtual machine have; from
// within a container first the container's own address.
func (c *containers) address(one engine.Container, port int, network string) (string, error) {
	if one.HostConfig.NetworkMode == "host" {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), nil
	}
	networks := slices.Sorted(maps.Keys(one.NetworkSettings.Networks))
	if network != "" && !slices.Contains(networks, network) {
		return "", fmt.Errorf("keystay.network: it is not in %q, but in %s", network, cmp.Or(strings.Join(networks, ", "), "none"))
	}
	published := publishedAt(one, port)
	own := ownAddress(one, port, network)
	switch {
	case network != "":
		published = ""
	case c.inside:
		published, own = own, published
	}
	if at := cmp.Or(published, own); at != "" {
		return at, nil
	}
	return "", errors.New("it has no address: it is in no network, and does not publish the port")
}

// publishedAt is where the machine has a port of a container, or "".
func publishedAt(one engine.Container, port int) string {
	for _, p := range one.Ports {
		if p.Type != "tcp" || p.PrivatePort != port || p.PublicPort == 0 {
			continue
		}
		host := p.IP
		if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, strconv.Itoa(p.PublicPort))
	}
	return ""
}

// ownAddress is the port at the container's address in a network, any where that is empty;
// or "".
func ownAddress(one engine.Container, port int, network string) string {
	for _, n := range slices.Sorted(maps.Keys(one.NetworkSettings.Networks)) {
		at := one.NetworkSettings.Networks[n]
		if ip := cmp.Or(at.IPAddress, at.GlobalIPv6Address); ip != "" && (network == "" || n == network) {
			return net.JoinHostPort(ip, strconv.Itoa(port))
		}
	}
	return ""
}
