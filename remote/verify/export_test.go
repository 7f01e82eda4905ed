package verify

// For tests.
var (
	SCTList   = sctList
	CountSCTs = countSCTs
)
