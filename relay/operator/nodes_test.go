//go:build linux || darwin || freebsd

package operator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"keystay/relay/operator"
)

// A fakeCluster is two nodes, of which the first may invite.
type fakeCluster struct{ refuses error }

func (f fakeCluster) Nodes() []operator.Node {
	return []operator.Node{{Node: "a", Self: true, Connected: true, Weight: 100}, {Node: "b", Why: "connection refused"}}
}

func (f fakeCluster) Invite() (operator.Invitation, error) {
	return operator.Invitation{Invitation: "keystay-join-1.secret", Until: time.Unix(2e9, 0)}, f.refuses
}

// The nodes are shown, and an invitation goes to whoever asks and into no log.
func TestNodesAreShownAndInvited(t *testing.T) {
	for _, refuses := range []error{nil, errors.New("this node is not the CA")} {
		r := newRig(t, func(s *operator.Server) { s.Cluster = fakeCluster{refuses} })
		if status, body := r.ask("GET", "/v1/nodes", ""); status != 200 || !strings.Contains(body, `{"node":"b","connected":false,"why":"connection refused"`) {
			t.Errorf("%d: %s", status, body)
		}
		status, body := r.ask("POST", "/v1/nodes/invite", `{"reason":"more room"}`)
		if refuses == nil && (status != 200 || !strings.Contains(body, `"invitation":"keystay-join-1.secret"`)) || refuses != nil && (status != 409 || !strings.Contains(body, "not the CA")) {
			t.Errorf("%d: %s", status, body)
		}
		if _, log := r.ask("GET", "/v1/audit", ""); !strings.Contains(log, `"what":"nodes.invite"`) || !strings.Contains(log, "more room") || strings.Contains(log, "secret") {
			t.Errorf("the audit log: %s", log)
		}
	}
}

// A relay on one machine has no nodes, and says so.
func TestOneMachineHasNoNodes(t *testing.T) {
	r := newRig(t, nil)
	for _, ask := range []struct{ method, path, body string }{{"GET", "/v1/nodes", ""}, {"POST", "/v1/nodes/invite", "{}"}} {
		if status, body := r.ask(ask.method, ask.path, ask.body); status != 404 || !strings.Contains(body, "runs on one machine") {
			t.Errorf("%s: %d: %s", ask.path, status, body)
		}
	}
}

// A kick is for all nodes: that nothing is here is no mistake then.
func TestKickIsForAllNodes(t *testing.T) {
	none := func(s *operator.Server) { s.Relay.(*fakeRelay).severed.Links = 0 }
	if status, body := newRig(t, none).ask("POST", "/v1/remotes/kick", `{"name":"n.relay.test"}`); status != 404 {
		t.Errorf("on one machine: %d: %s", status, body)
	}
	r := newRig(t, func(s *operator.Server) { none(s); s.Cluster = fakeCluster{} })
	if status, body := r.ask("POST", "/v1/remotes/kick", `{"name":"n.relay.test"}`); status != 200 || !strings.Contains(body, `"elsewhere":true`) {
		t.Errorf("on several: %d: %s", status, body)
	}
}
