package publish

import (
	"sync"

	"keystay/internal/budget"
)

// Budgets are what all visitors of those sites that share them may take of the
// process at once: memory for requests and windows, and connections to services.
// Make them with NewBudgets.
type Budgets struct {
	requests *budget.Budget // heads and kept bodies, see memory.go
	uploads  *budget.Budget // large windows, see windows.go
	windows  *budget.Budget // small ones
	locals   *budget.Budget // connections to services, see pool.place
	bulk     sync.Pool      // of *bulkBuffer

	mu    sync.Mutex
	large int // how many visits have large windows for answers
}

// Requests returns how many bytes heads and kept bodies of requests have taken, and how
// many they may take.
func (b *Budgets) Requests() (used, limit int64) { return b.requests.Used(), b.requests.Limit() }

// Connections returns how many connections to services the visitors have taken beside the
// first of each, and how many they may take.
func (b *Budgets) Connections() (used, limit int64) {
	return b.locals.Used() / localPlace, b.locals.Limit() / localPlace
}

// maxRequests is how many requests at once NewBudgets allows at most where it is not
// told how much memory they may take. Each may have a file of a folder open: with
// maxLocals and the visitors that is half of the descriptors that the remote has as a
// service.
const maxRequests = 16 << 10

// NewBudgets returns budgets in which heads and kept bodies of requests may take
// so many bytes at once; a request beyond it gets 503. 0 means a quarter of the
// memory that the process may have: GOMEMLIMIT if it is set, else the limit of the
// control group, else the machine's; and 1 GiB at most.
func NewBudgets(memory int64) *Budgets {
	requests := memory
	if memory <= 0 {
		available, _ := budget.Available()
		memory = available / memoryPart
		requests = min(memory, maxRequests*requestCost)
	}
	return &Budgets{
		requests: budget.New(requests),
		uploads:  budget.New(min(uploadBudget, memory/4)),
		windows:  budget.New(memory / 2),
		locals:   budget.New(maxLocals * localPlace),
	}
}
