// Package signin is what everything shares that people sign in to with a password: the
// users and their hashes, how often one network may guess, and how many guesses are
// looked at side by side.
package signin
