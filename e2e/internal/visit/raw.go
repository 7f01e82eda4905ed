package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strconv"
)

// raw sends bytes over TLS and prints what comes back and how it ended.
func (v *visitor) raw(ctx context.Context, args []string) error {
	f := v.flags
	half := f.Bool("half-close", false, "end the own side after the text")
	abort := f.Bool("reset", false, "reset the connection after the first bytes of the answer")
	version := f.Uint("tls", 13, "`VERSION` of TLS, 12 or 13")
	alpn := f.String("alpn", "http/1.1", "the protocol to offer; empty is none")
	unverified := f.Bool("insecure", false, "do not check the certificate")
	args, err := v.parse(args, 2)
	if err != nil {
		return err
	}
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	config, err := v.tls()
	if err != nil {
		return err
	}
	config.ServerName = args[0]
	config.InsecureSkipVerify = *unverified
	config.MinVersion = tls.VersionTLS10 + uint16(*version) - 10
	config.MaxVersion = config.MinVersion
	if *alpn != "" {
		config.NextProtos = []string{*alpn}
	}
	c, err := v.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(deadline(ctx))
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	cs := tc.ConnectionState()
	fmt.Fprintf(os.Stderr, "%s %s %s\n", tls.VersionName(cs.Version), cs.NegotiatedProtocol, cs.PeerCertificates[0].DNSNames)
	if _, err := io.WriteString(tc, text); err != nil {
		return err
	}
	if *half {
		// Where the connection has been reset meanwhile, reading says so.
		tc.CloseWrite() // sends close_notify alone
		c.CloseWrite()
	}
	if *abort {
		if _, err := tc.Read(make([]byte, 1)); err != nil {
			return err
		}
		c.SetLinger(0)
		return nil
	}
	n, err := io.Copy(os.Stdout, tc)
	fmt.Printf("\nend: %s after %d bytes\n", end(err), n)
	return nil
}
