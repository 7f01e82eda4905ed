// Package trial compares the policy of package names with a model of it, above any store:
// several devices and the operator do what they like at once, and some order of it must
// give the same answers and end in the same state in the model. It is for tests.
package trial
