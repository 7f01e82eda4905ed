package trial

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"keystay/relay/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The checker sees it when the policy and its model differ.
func TestModelSeesDifferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		grants, err := names.OpenGrants(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer grants.Close()
		n := &names.Names{Grants: grants}
		n.Begin(Zone)
		r := New(t, 1, Setup{Nodes: []*names.Names{n}, Sleep: time.Sleep})
		r.change()
		given := op{what: "claim", name: "a." + Zone, id: 0}
		r.do(n, &given)
		for name, o := range map[string][][]op{
			"an answer":       {{{what: "claim", name: "a." + Zone, id: 0, got: names.DeniedTaken}}},
			"a second holder": {{given}, {{what: "claim", name: "a." + Zone, id: 1}}},
			"the state":       {},
		} {
			if explain(r.model, o, r.state()) != nil {
				t.Errorf("%s is not seen", name)
			}
		}
		if explain(r.model, [][]op{{given}}, r.state()) == nil {
			t.Error("what has happened is not explained")
		}
	})
}
