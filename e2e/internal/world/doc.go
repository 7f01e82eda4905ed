// Package world is what the tests here have around the two programs: the
// programs themselves, built once, and their processes; a relay in the test's own
// process; and the network between them, which can be told to misbehave.
package world
