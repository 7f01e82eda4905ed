// Smux-remote is a remote written from framing/PROTOCOL.md: stock smux carries the
// session, crypto/tls does the rest. It holds one name, ends TLS with a certificate
// that it makes itself, and shows a page to one visitor after the other. What it
// leaves out: a key that lasts, a certificate that browsers trust, lanes, and a
// second link when the first is lost.
//
//	smux-remote relay.example relay.example:443 [NAME]
//	curl --cacert smux-remote.pem https://NAME/
//
// Without NAME it is the one made from the key, and said on stdout.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/xtaci/smux"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 && len(os.Args) != 4 {
		log.Fatal("usage: smux-remote RELAY HOST:PORT [NAME]")
	}
	public, key, _ := ed25519.GenerateKey(nil)
	sum := sha256.Sum256(append([]byte("keystay-name-v1\x00"), public...))
	name := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:20])) + "." + os.Args[1]
	if len(os.Args) == 4 {
		name = os.Args[3]
	}
	if err := run(os.Args[1], os.Args[2], name, key); err != nil {
		log.Fatal(err)
	}
}

// run holds the name, and serves visitors, until SIGTERM has been answered.
func run(relay, address, name string, key ed25519.PrivateKey) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := dial(relay, address, name, key)
	if err != nil {
		return err
	}
	config := smux.DefaultConfig()
	config.Version, config.KeepAliveDisabled = 2, true
	session, err := smux.Server(l, config) // it is silent before the relay's START_MUX
	if err != nil {
		return err
	}
	cert, err := selfMade(name)
	if err != nil {
		return err
	}
	fmt.Println(name)
	go l.ping()
	leave := func() { // no more visitors come
		if session.NumStreams() == 0 {
			session.Close()
		}
	}
	go func() {
		<-ctx.Done()
		l.send(goAway, make([]byte, 2+4+2)) // shutdown, now, no text
		<-l.acknowledged
		leave()
	}()
	for {
		sm, err := session.AcceptStream()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("the link is lost: %w", err)
		} else if err != nil {
			return nil
		}
		serve(sm, &tls.Config{Certificates: []tls.Certificate{cert}})
		select {
		case <-l.acknowledged:
			leave()
		default:
		}
	}
}

// dial makes a link that holds the name, sections 1 to 3 of PROTOCOL.md.
func dial(relay, address, name string, key ed25519.PrivateKey) (*link, error) {
	c, err := tls.Dial("tcp", address, &tls.Config{ServerName: relay, MinVersion: tls.VersionTLS13, NextProtos: []string{"keystay/1"}})
	if err != nil {
		return nil, err
	}
	state := c.ConnectionState()
	exporter, err := state.ExportKeyingMaterial("EXPORTER-keystay-link-v1", nil, 32)
	if err != nil {
		return nil, err
	}
	proof := ed25519.Sign(key, append([]byte("keystay-link-v1\x00remote\x00"+relay+"\x00"), exporter...))
	h := append([]byte{1, 0, 0, 0, 0}, key.Public().(ed25519.PublicKey)...) // minor 1, no capabilities
	h = binary.BigEndian.AppendUint64(append(h, proof...), 1)               // the first run of this key,
	h = append(append(h, rand.Text()[:16]...), "\x0bsmux-remote"...)        // and the run's id
	l := &link{tls: c, acknowledged: make(chan struct{})}
	l.send(hello, h)
	l.send(claim, append(append([]byte{byte(len(name))}, name...), 0, 0)) // no token
	for _, want := range []byte{welcome, claimed} {
		if t, p, err := l.record(); err != nil {
			return nil, err
		} else if t != want { // REFUSED or DENIED
			return nil, fmt.Errorf("the relay answered 0x%02x %q", t, p)
		}
	}
	return l, nil
}

// selfMade makes a certificate, and a file of it for visitors to trust.
func selfMade(name string) (cert tls.Certificate, err error) {
	public, key, _ := ed25519.GenerateKey(nil)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "smux-remote"}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, t, t, public, key)
	if err == nil {
		err = os.WriteFile("smux-remote.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
