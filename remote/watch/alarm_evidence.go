package watch

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keystay/internal/ownfile"
	"keystay/internal/plain"
)

const (
	// maxEvidence is how many files of evidence are kept. When there are as many, a new one
	// takes the place of the last one before it, so that the first ones stay.
	maxEvidence = 100
	// maxEvidenceSize bounds the certificates of one file, in bytes of DER.
	maxEvidenceSize = 64 << 10
	// evidenceExt ends the name of each file.
	evidenceExt = ".pem"
)

// keep writes the certificates of an alarm to a file, with mode 0600, and returns its
// name. The same name and key are kept once.
func (a *Alarms) keep(alarm Alarm) (string, error) {
	if a.Dir == "" || len(alarm.Chain) == 0 {
		return "", nil
	}
	if err := ownfile.MkdirAll(a.Dir); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(a.Dir) // in the order of their names, and so of time
	if err != nil {
		return "", err
	}
	tail := "-" + string(alarm.Seen) + "-" + fileName(alarm.Name) + "-" + hex.EncodeToString(alarm.Key[:8]) + evidenceExt
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tail) {
			return filepath.Join(a.Dir, e.Name()), nil
		}
		if strings.HasSuffix(e.Name(), evidenceExt) {
			files = append(files, e.Name())
		}
	}
	if len(files) >= maxEvidence {
		if err := os.Remove(filepath.Join(a.Dir, files[len(files)-1])); err != nil {
			return "", err
		}
	}
	file := filepath.Join(a.Dir, alarm.Time.UTC().Format("20060102T150405Z")+tail)
	return file, ownfile.Write(file, evidence(alarm))
}

// fileName is a name as part of a file's.
func fileName(name string) string {
	return plain.Cut(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, name), 150)
}

// evidence is the content of a file: what was seen, as text that readers of PEM pass over
// (RFC 7468, section 2), and the certificates.
func evidence(alarm Alarm) []byte {
	var b bytes.Buffer
	for _, line := range []string{
		"name: " + alarm.Name, "seen: " + string(alarm.Seen), "where: " + alarm.Where,
		"time: " + alarm.Time.UTC().Format(time.RFC3339), "key_sha256: " + hex.EncodeToString(alarm.Key[:]), "text: " + alarm.Text,
	} {
		fmt.Fprintln(&b, plain.Text(line))
	}
	size := 0
	for _, der := range alarm.Chain {
		if size += len(der); size > maxEvidenceSize {
			break
		}
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return b.Bytes()
}
