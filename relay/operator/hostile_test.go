//go:build linux || darwin || freebsd

package operator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"keystay/relay/operator"
)

// No lever is missing in the audit log for what it was called with, however long that
// is: whoever pulls one could hide it so.
func TestNoLeverIsTooLongForTheAuditLog(t *testing.T) {
	r := newRig(t, nil)
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf("n%02d.%s.%[2]s.%[2]s.relay.test", i, strings.Repeat("x", 60)))
	}
	body, err := json.Marshal(operator.NewToken{Names: list, Note: strings.Repeat("<", 500)})
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := r.ask("POST", "/v1/tokens/create", string(body)); status != 200 {
		t.Fatalf("%d %.200s", status, answer)
	}
	entries, err := r.srv.Audit.Last(10, time.Time{})
	if err != nil || len(entries) != 1 || entries[0].What != "token.create" || !strings.Contains(entries[0].On, list[0]) {
		t.Errorf("%+v, %v", entries, err)
	}
}

// What an operator writes for others is text that prints: it comes to terminals.
func TestReasonsPrint(t *testing.T) {
	r := newRig(t, nil)
	for _, bad := range []string{"a\u009b2Jb", "a\u202eb", "a\u2028b", "a\u0085b", "a\u200bb", "a\x1bb"} {
		body, _ := json.Marshal(operator.Ban{Of: "a.relay.test", Reason: bad})
		if status, answer := r.ask("POST", "/v1/names/ban", string(body)); status != 400 {
			t.Errorf("%q: %d %s", bad, status, answer)
		}
	}
	if status, answer := r.ask("POST", "/v1/names/ban", `{"of":"a.relay.test","reason":"Phishing: täuscht 例え vor"}`); status != 200 {
		t.Errorf("%d %s", status, answer)
	}
	if status, answer := r.ask("POST", "/v1/remotes/kick", `{"address":"[fe80::1%\u001b[2J]:7"}`); status != 400 {
		t.Errorf("a zone of an address: %d %s", status, answer)
	}
}

// A token whose limits cannot be read is not made: what it opens would have the usual
// ones, whatever was meant.
func TestLimitsOfATokenAreChecked(t *testing.T) {
	r := newRig(t, nil)
	for limits, status := range map[string]int{
		`{"bandwidth":"10MiB/s","names":"3"}`: 200, `{}`: 200,
		`{"bandwith":"10MiB/s"}`: 400, `{"bandwidth":"-1"}`: 400, `{"names":"many"}`: 400, `{"names":"off"}`: 400, `{"streams":"99999999999999999999"}`: 400,
	} {
		if got, answer := r.ask("POST", "/v1/tokens/create", `{"names":["*.relay.test"],"limits":`+limits+`}`); got != status {
			t.Errorf("%s: %d %s", limits, got, answer)
		}
	}
}
