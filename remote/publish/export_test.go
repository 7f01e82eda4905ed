package publish

import "keystay/internal/budget"

// What tests hit.
const (
	HalfCloseGrace    = halfCloseGrace
	MaxHeaderBytes    = maxHeaderBytes
	MaxVisitorStreams = maxVisitorStreams
	MaxFields         = maxFields
	MaxFrame          = maxFrame
	RequestCost       = requestCost
	TrailerCost       = trailerCost
	ChunkedCost       = chunkedCost
	MaxLocalConns     = maxLocalConns
	KeptBody          = keptBody
	KeptVisit         = keptVisit
	HeadsVisit        = headsVisit
	MaxLarge          = maxLarge
	LargeUpload       = largeUpload
	LargeAnswer       = largeAnswer
	LargeAnswers      = largeAnswers
	SmallUpload       = smallUpload
	UploadBudget      = uploadBudget
	SmallAnswer       = smallAnswer
	SmallAnswers      = smallAnswers
	LeastUpload       = leastUpload
	LeastAnswer       = leastAnswer
	LeastAnswers      = leastAnswers
	MaxTunnels        = maxTunnels
	BulkAfter         = bulkAfter
	BulkPiece         = bulkPiece
)

// AcceptOf is the Sec-WebSocket-Accept for a key.
func AcceptOf(key string) string { return acceptOf(key) }

// RequestMemory is what the target's requests take memory from.
func RequestMemory(t *Target) *budget.Budget { return t.own().requests }
