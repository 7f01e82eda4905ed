//go:build !race

package e2e

// raced says that the race detector is on, with which everything is slow.
const raced = false
