//go:build linux

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"keystay/e2e/bench/internal/child"
	"keystay/e2e/bench/internal/result"
	"keystay/relay/cluster"
)

// The subjects of a visitor who hops, beside those with one process between: two HAProxy
// one behind the other, and two nodes of a relay, where the device has its link at the
// second and the visitor comes to the first.
const (
	haproxyTwice = "haproxy-twice"
	hopSession   = "hop-session"
	hopLanes     = "hop-lanes"
)

// hop measures what one hop more costs, in turn.
func (b *bench) hop() error {
	if !b.has("hop") {
		return nil
	}
	var subjects []*subject
	defer func() {
		for _, s := range subjects {
			s.stop()
		}
	}()
	for _, what := range []string{haproxy, haproxyTwice, session, hopSession, lanes, hopLanes} {
		if err := b.available(what); err != nil {
			b.skip("hop: "+what, err)
			continue
		}
		s, err := b.start(what, loopback())
		if err != nil {
			return err
		}
		subjects = append(subjects, s)
	}
	p := b.plan
	return b.inTurn("hop", subjects, []test{
		hopTest("hop_down", func(s *subject) (result.Measurement, error) { return bulk(s, false, 1, p.warm, p.window) }),
		hopTest("hop_down", func(s *subject) (result.Measurement, error) { return bulk(s, false, 8, p.warm, p.window) }),
		hopTest("hop_conn", func(s *subject) (result.Measurement, error) { return connections(s, 8, p.window) }),
		hopTest("hop_keepalive", func(s *subject) (result.Measurement, error) { return latencies(s, 1, p.warm, p.window) }),
		hopTest("hop_keepalive", func(s *subject) (result.Measurement, error) { return latencies(s, 4, p.warm, p.window) }),
	})
}

func hopTest(name string, run func(*subject) (result.Measurement, error)) test {
	return test{name, func(s *subject) (result.Measurement, error) {
		m, err := run(s)
		m.Test = name
		return m, err
	}}
}

// startHop starts what is between in two processes.
func (b *bench) startHop(s *subject) (err error) {
	if s.name == haproxyTwice {
		return b.startHAProxyTwice(s)
	}
	nodes := [2]string{"far", "near"} // the device's and the visitor's
	files, err := newNodes(s.dir, nodes[:]...)
	if err != nil {
		return err
	}
	var listeners [2]*os.File
	peers := make(map[string]string)
	for i, node := range nodes {
		ln, err := net.Listen("tcp", s.place.listen+":0")
		if err != nil {
			return err
		}
		peers[node] = ln.Addr().String()
		listeners[i], err = ln.(*net.TCPListener).File()
		ln.Close()
		if err != nil {
			return err
		}
		defer listeners[i].Close()
	}
	var processes [2]*child.Process
	for i, node := range nodes {
		r := role{Listen: s.place.listen + ":0", Node: node, Nodes: peers, NodeFiles: files[node], Dir: filepath.Join(s.dir, node)}
		if processes[i], err = b.role(s, s.place.relay, "node", r, listeners[i]); err != nil {
			return err
		}
	}
	s.relay, s.second = processes[1], processes[0]
	s.door.Address = s.relay.Address
	word := "off"
	if s.name == hopLanes {
		word = "auto"
	}
	if s.remote, err = b.role(s, s.place.remote, "device", role{Relay: s.second.Address, Dir: filepath.Join(s.dir, "device"), Lanes: word}); err != nil {
		return err
	}
	return heard(s)
}

// heard waits until the node of the visitors has heard where the device is.
func heard(s *subject) error {
	for end := time.Now().Add(time.Minute); ; {
		err := visitOnce(s)
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := s.pause(10 * time.Millisecond); err != nil {
			return err
		}
	}
}

// startHAProxyTwice starts a second HAProxy in front of the first.
func (b *bench) startHAProxyTwice(s *subject) (err error) {
	if s.remote, err = b.role(s, s.place.remote, "server", role{Listen: s.place.listen + ":0"}); err != nil {
		return err
	}
	if s.second, err = b.startHAProxy(s, s.remote.Address); err != nil {
		return err
	}
	if s.relay, err = b.startHAProxy(s, s.second.Address); err != nil {
		return err
	}
	s.door.Address = s.relay.Address
	return nil
}

// newNodes makes a CA of nodes, and a certificate for each.
func newNodes(dir string, nodes ...string) (map[string]cluster.Files, error) {
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nodes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}
	write := func(file, kind string, b []byte) error {
		return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600)
	}
	all := make(map[string]cluster.Files)
	for i, node := range nodes {
		f := cluster.Files{CA: filepath.Join(dir, "nodes.pem"), Cert: filepath.Join(dir, node+".pem"), Key: filepath.Join(dir, node+"-key.pem")}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), DNSNames: []string{node}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		cert, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		if err != nil {
			return nil, err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err := errors.Join(err, write(f.CA, "CERTIFICATE", root), write(f.Cert, "CERTIFICATE", cert), write(f.Key, "PRIVATE KEY", pkcs8)); err != nil {
			return nil, fmt.Errorf("certificate of node %s: %w", node, err)
		}
		all[node] = f
	}
	return all, nil
}
