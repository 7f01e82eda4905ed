// Package names decides whose a name is: which identity may claim it, and whether
// visitors of it wait for its device.
//
// [Names] is the policy, and has the levers of whoever runs the relay. It decides by
// its [Rules], and by the record of what was given out, which outlives the relay and
// is kept by a [Store]: [Grants] is the store of one process, a file of bbolt.
//
// Which remote is connected for a name now is not known here. Nothing here knows of
// links or of the protocol: a claim that is refused is a [Denied].
package names
