// Package names decides whose a name is: which identity may claim it, and whether
// visitors of it wait for its device.
//
// [Names] is the policy. [Grants] is the record of what was given out, which
// outlives the relay: one file of bbolt. Which remote is connected for a name now
// is not known here. Nothing here knows of links or of the protocol: a claim that
// is refused is a [Denied].
package names
