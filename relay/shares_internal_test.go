package relay

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A device that lets its links go may have too many again and again, and each time that is
// news; but the log has no more lines of it than of other remotes that are refused.
func TestDevicesWithTooManyLinksDoNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := newShares(MinMemory, slog.New(slog.NewTextHandler(&log, nil)))
		key := make(ed25519.PublicKey, ed25519.PublicKeySize)
		crowd := func() {
			var links []*identity
			for range maxLinksPerIdentity {
				id, refusal := m.admitLink(key)
				if refusal != nil {
					t.Fatal(refusal)
				}
				links = append(links, id)
			}
			if _, refusal := m.admitLink(key); refusal == nil {
				t.Error("a link beyond the limit is admitted")
			}
			for _, id := range links {
				m.devices.lost(id)
				m.devices.leave(id)
			}
		}
		for range refusedLines + 3 {
			crowd()
		}
		const line = "a device has too many links"
		if n := strings.Count(log.String(), line); n != refusedLines {
			t.Errorf("%d lines within a minute, want %d", n, refusedLines)
		}
		time.Sleep(time.Minute)
		log.Reset()
		crowd()
		if got := log.String(); strings.Count(got, line) != 1 || !strings.Contains(got, "left_out=3") {
			t.Errorf("a minute later: %s", got)
		}
	})
}
