package names_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
	"keystay/relay/names/trial"
)

// The policy and its model agree, whatever several do at once.
func TestPolicyAgreesWithItsModel(t *testing.T) {
	rounds, _ := strconv.Atoi(os.Getenv("KEYSTAY_ROUNDS"))
	for seed := range uint64(4 * max(1, rounds)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil)
				defer r.grants().Close()
				model := trial.New(t, seed, trial.Setup{
					Nodes: []*names.Names{r.names}, Sleep: time.Sleep,
					Check: func(ctx context.Context, n *names.Names, h names.Holding) error { return n.CheckDomain(ctx, h) },
					Times: trial.Times{ProofAge: names.ProofAge, LostAfter: names.LostAfter, SilentAfter: names.SilentAfter, SeenStep: names.SeenStep},
				})
				for range 30 {
					if !model.Step() {
						break
					}
				}
			})
		})
	}
}
