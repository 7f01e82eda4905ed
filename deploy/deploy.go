// Package deploy has the commented configuration of a relay, as it stands beside the
// units and the DNS guide.
package deploy

import _ "embed"

//go:embed relay.yaml
var relayYAML string

// RelayYAML is deploy/relay.yaml: every key with its default and what it means.
func RelayYAML() string { return relayYAML }
