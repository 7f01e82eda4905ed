package config

import (
	"fmt"

	"github.com/spf13/pflag"
)

// A Given is a service that something else says than a file or flags, such as a container.
type Given struct {
	Domains, Words []string // as in [Service]; without any, the name made from the key alone
	Local          string   // as [ParseLocal] reads it
}

// givenKeys are what a Given says, of which flags say nothing beside it.
var givenKeys = []string{"domain", "name", "local", "tcp", "cert", "key"}

// GivenFlags adds the remote's flags, but those that say what is published.
func GivenFlags(fs *pflag.FlagSet) {
	var keys []Key
	for _, k := range RemoteKeys() {
		if !isGiven(k) {
			keys = append(keys, k)
		}
	}
	register(fs, keys)
}

func isGiven(k Key) bool {
	for _, key := range givenKeys {
		if k.Name == "services[]."+key {
			return true
		}
	}
	return false
}

// LoadGiven is [LoadRemote] for services that are given, of which there may be none. What
// flags say of all services alike, such as who may visit, counts for each of them. A file
// has no services. What is wrong with the service at i has a key that begins with
// "services[i]".
func LoadGiven(fs *pflag.FlagSet, services []Given) (*Remote, []Warning, error) {
	if services == nil {
		services = []Given{}
	}
	return loadRemote(fs, nil, services)
}

// readGiven reads the services that are given.
func (r *serviceReader) readGiven() {
	report := func(from, message, hint string) {
		r.told = append(r.told, &Error{From: from, Message: message, Hints: []string{hint}})
	}
	if r.inFile() {
		report(r.src.file.name, "there are services in it", "to publish these, start another remote: remote --config FILE; here it has settings for all containers alone")
	}
	for _, k := range r.src.keys {
		if isGiven(k) && r.src.isSet(k.Name) && !r.src.inFile(k.Name) {
			from, _ := r.src.origin(k.Name)
			report(from, "this is said by each container", "as its label, see remote docker --help")
		}
	}
	var blocks []block
	for i, g := range r.given {
		values := map[string]any{"local": []any{g.Local}}
		r.flagValues(values)
		if len(g.Domains) > 0 {
			values["domain"] = anyList(g.Domains)
		}
		if len(g.Words) > 0 {
			values["name"] = anyList(g.Words)
		}
		b := block{fmt.Sprintf("services[%d]", i), values}
		blocks = append(blocks, b)
		r.remote.Services = append(r.remote.Services, r.service(b))
	}
	r.names(blocks)
}
