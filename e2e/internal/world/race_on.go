//go:build race

package world

// RaceEnabled says that the tests have the race detector.
const RaceEnabled = true
