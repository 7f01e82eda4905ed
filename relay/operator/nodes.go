package operator

import (
	"net/http"
	"time"
)

// A Cluster is the nodes of a relay that runs on several machines.
type Cluster interface {
	// Nodes returns this node and the others, in the order of their names.
	Nodes() []Node

	// Invite makes an invitation for one more machine.
	Invite() (Invitation, error)
}

// A Node is one machine of the relay, as this one sees it.
type Node struct {
	Node      string     `json:"node"`
	Self      bool       `json:"self,omitempty"` // it is the one that answers
	Connected bool       `json:"connected"`
	Why       string     `json:"why,omitempty"` // it is not
	Leaves    bool       `json:"leaves,omitempty"`
	Listed    bool       `json:"listed"` // it is in the list of nodes
	Address   string     `json:"address,omitempty"`
	Public    string     `json:"public,omitempty"`
	Region    string     `json:"region,omitempty"`
	Weight    int        `json:"weight"`
	Version   string     `json:"version,omitempty"`
	Since     *time.Time `json:"since,omitempty"` // of the connection
	RTT       float64    `json:"rtt_ms"`
	Names     int        `json:"names"`
	Links     int        `json:"links"`
	Visitors  int        `json:"visitors"`
	Load      int        `json:"load_permille"`
	// CertificateUntil is when this node's certificate ends; none of the others.
	CertificateUntil *time.Time `json:"certificate_until,omitempty"`
}

// Nodes is the answer to GET /v1/nodes.
type Nodes struct {
	Nodes []Node `json:"nodes"`
}

// An Invitation is with what one machine may become a node.
type Invitation struct {
	Invitation string    `json:"invitation"`
	Until      time.Time `json:"until"`
}

// Invite is the body of POST /v1/nodes/invite.
type Invite struct {
	Reason string `json:"reason,omitempty"`
}

// errOneMachine is the error of what is for a relay on several machines.
func errOneMachine() error {
	return problem(http.StatusNotFound, "this relay runs on one machine").because("cluster.etcd.endpoints in relay.yaml makes it a node; see docs/cluster.md")
}

func (s *Server) nodes(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if s.Cluster == nil {
		return nil, errOneMachine()
	}
	return Nodes{s.Cluster.Nodes()}, nil
}

// invite answers with the secret, which stands nowhere else.
func (s *Server) invite(r *http.Request) (any, error) {
	var b Invite
	if err := read(r, &b); err != nil {
		return nil, err
	}
	if err := text("reason", b.Reason); err != nil {
		return nil, err
	}
	if s.Cluster == nil {
		return nil, errOneMachine()
	}
	v, err := s.Cluster.Invite()
	if err != nil {
		err = problem(http.StatusConflict, "%v", err).because("relay cluster invite works on the node that has ca.key in state_dir/cluster")
		s.noted(r, "nodes.invite", "", b.Reason, err)
		return nil, err
	}
	s.noted(r, "nodes.invite", "", b.Reason, nil)
	return v, nil
}
