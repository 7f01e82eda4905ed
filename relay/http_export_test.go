package relay

const MaxSiteStreams = maxSiteStreams
