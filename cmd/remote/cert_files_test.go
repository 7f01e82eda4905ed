package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"keystay/config"
	"keystay/internal/testca"
)

// A pair of files that is not for every name of the service leaves the certificate in
// use, and the log says so once.
func TestCertificateForOtherNamesReplacesNoGoodOne(t *testing.T) {
	ca := testca.New(t)
	names := []string{"a.test", "b.test"}
	for _, later := range [][]string{{"c.test"}, {"a.test"}, {"b.test", "c.test"}} {
		dir := t.TempDir()
		cert, key := ca.Files(dir, names...)
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		files, err := certFiles(new(config.Remote), config.Service{Domains: names, Cert: cert, Key: key}, log)
		if err != nil {
			t.Fatal(err)
		}
		before, _ := files.GetCertificate(nil)
		ca.Files(dir, later...)
		for _, file := range []string{cert, key} {
			if err := os.Chtimes(file, time.Time{}, time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		reloadFiles(files, log)
		if after, _ := files.GetCertificate(nil); after != before {
			t.Errorf("%q is in use", after.Leaf.DNSNames)
		}
		if got := out.String(); strings.Count(got, "the new certificate is not in use; the one from before is") != 1 {
			t.Errorf("for %q the log says %s", later, got)
		}
	}
}
