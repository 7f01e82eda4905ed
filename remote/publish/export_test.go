package publish

// What tests hit.
const (
	HalfCloseGrace    = halfCloseGrace
	MaxHeaderBytes    = maxHeaderBytes
	MaxVisitorStreams = maxVisitorStreams
	MaxLocalConns     = maxLocalConns
	KeptBody          = keptBody
	KeptVisit         = keptVisit
	MaxLarge          = maxLarge
	LargeUpload       = largeUpload
	LargeAnswer       = largeAnswer
	LargeAnswers      = largeAnswers
	SmallUpload       = smallUpload
	UploadBudget      = uploadBudget
	SmallAnswer       = smallAnswer
	SmallAnswers      = smallAnswers
)
