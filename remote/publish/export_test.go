package publish

// What tests hit.
const (
	HalfCloseGrace    = halfCloseGrace
	MaxHeaderBytes    = maxHeaderBytes
	MaxVisitorStreams = maxVisitorStreams
)
