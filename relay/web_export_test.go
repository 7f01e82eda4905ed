package relay

const LinkLines = linkLines
