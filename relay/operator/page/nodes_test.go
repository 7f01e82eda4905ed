package page_test

import (
	"strings"
	"testing"

	"keystay/relay/operator"
)

// nodes are those of a relay on two machines.
type nodes struct{}

func (nodes) Nodes() []operator.Node {
	return []operator.Node{{Node: "a", Self: true, Connected: true}, {Node: "b<b>", Why: "connection refused", Region: "eu"}}
}

func (nodes) Invite() (operator.Invitation, error) { return operator.Invitation{}, nil }

// The first page shows the other nodes, where there are some.
func TestOverviewShowsTheOtherNodes(t *testing.T) {
	r := newRig(t, "")
	if body := text(r.get("/")); strings.Contains(body, "Other node") {
		t.Error("a relay on one machine shows others")
	}
	r.api.Cluster = nodes{}
	about := r.api.About
	r.api.About = func(st *operator.Status) { about(st); st.Node = "a" }
	body := text(r.get("/"))
	for _, want := range []string{"Other node", "b&lt;b&gt;", "not connected: connection refused", "eu"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is not in %s", want, body)
		}
	}
}
