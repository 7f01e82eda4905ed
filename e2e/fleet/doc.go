// Package fleet simulates a relay of many nodes: where the links of its devices are, how
// they move when a node dies or is drained and when the nodes are parted, what the nodes
// tell each other about that, and what they ask of etcd. Time is virtual, chance is seeded:
// the same costs give the same figures.
//
// Each device chooses its nodes by the rule that the real one has. What a thing costs is
// measured on the real code, and comes in as Costs. The rest is a Setting, which says
// what is taken for granted: where nodes and devices stand, how far apart that is, how
// often links end.
package main
