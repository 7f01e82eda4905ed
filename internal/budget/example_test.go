package budget_test

import (
	"fmt"

	"keystay/internal/budget"
)

// Two links share a mebibyte. What one gives back the other may take.
func ExampleBudget() {
	all := budget.New(1 << 20)
	a, b := all.Share(), all.Share()
	fmt.Println(a.Take(1<<10, 1<<20) > 0, all.Used() == a.Used())
	a.Put(int(a.Used()))
	fmt.Println(b.Take(1<<10, 64<<10), all.Used())
	// Output:
	// true true
	// 65536 65536
}
