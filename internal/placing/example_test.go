package placing_test

import (
	"fmt"
	"time"

	"keystay/internal/placing"
)

// A second link stands on another node than the first, and both leave a node that takes
// no links any more.
func Example() {
	nodes := []placing.Node{
		{Name: "fra1", Region: "eu", Weight: 100, RTT: 4 * time.Millisecond},
		{Name: "fra2", Region: "eu", Weight: 100, RTT: 5 * time.Millisecond},
		{Name: "nyc1", Region: "us", Weight: 100, RTT: 90 * time.Millisecond},
	}
	seed := []byte("of one remote")
	first, _ := placing.Best(seed, nodes, nil, "")
	second, _ := placing.Best(seed, nodes, []string{first}, "")
	_, moves := placing.Next(seed, nodes, []string{first, second})
	fmt.Println(first != second, moves)

	nodes[0].Weight, nodes[1].Weight = 0, 0
	move, _ := placing.Next(seed, nodes, []string{first, second})
	fmt.Println(move.To, move.Why)
	// Output:
	// true false
	// nyc1 its node takes no links any more
}

func ExampleIsName() {
	fmt.Println(placing.IsName("fra1"), placing.IsName("Fra1"), placing.IsName("-fra1"))
	// Output: true false false
}
