package remote

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"keystay/framing"
)

// A relay that denies a name for another reason each time fills no log.
func TestReasonsOfARelayFillNoLog(t *testing.T) {
	var log bytes.Buffer
	d := &Device{log: slog.New(slog.NewTextHandler(&log, nil))}
	w, l := &way{d: d}, &Listener{domain: "a.relay.test"}
	for i := range 1000 {
		denied := map[*Listener]error{l: &framing.Denial{Code: framing.DeniedLimit, Text: strings.Repeat("x", i), Retry: time.Second}}
		if wait := w.later("relay.test", denied); wait != time.Second {
			t.Fatalf("it is asked again after %v", wait)
		}
		w.newReason(l, nil)
	}
	if n := strings.Count(log.String(), "\n"); n == 0 || n > 20 {
		t.Errorf("%d lines", n)
	}
}
