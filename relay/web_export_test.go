package relay

const (
	MaxSiteStreams = maxSiteStreams
	LinkLines      = linkLines
)
