package config

import (
	"slices"

	"github.com/spf13/pflag"

	"keystay/internal/relaylist"
)

// autoRelay is the word for a relay that is taken out of a list.
const autoRelay = "auto"

// auto checks the word for a relay out of a list, and takes it out of the relays.
func (r *remoteReader) auto() {
	if !slices.Contains(r.remote.Relays, autoRelay) {
		return
	}
	const oneRelay = "a token is for one relay: remote login RELAY keeps it for that relay alone, and then it may be taken"
	switch {
	case len(r.remote.Relays) > 1:
		r.errs.add("relay", "auto stands beside other relays", "auto alone, or the relays that are meant")
	case r.remote.RelayList == "":
		r.errs.add("relay_list", "missing, and relay is auto", "name the list, whose publisher you trust: --relay-list https://lists.example/relays.json")
	}
	if len(r.remote.RelayAddresses) > 0 {
		r.errs.add("relay_address", "relay is auto, and which relay it will be is not known", "take it out, or name the relay")
	}
	if r.remote.Token != "" {
		r.errs.add("token", "relay is auto, and a list does not say who may have the token", oneRelay)
	}
	if r.remote.TokenFile != "" {
		r.errs.add("token_file", "relay is auto, and a list does not say who may have the token", oneRelay)
	}
	r.remote.RelayAuto, r.remote.Relays = true, nil
}

// relayList checks where a list is, and the keys that sign it.
func (r *remoteReader) relayList() {
	if relaylist.IsURL(r.remote.RelayList) {
		if err := relaylist.CheckURL(r.remote.RelayList); err != nil {
			r.errs.add("relay_list", quote(r.remote.RelayList)+": "+err.Error(), "as in https://lists.example/relays.json, or a file")
		}
	}
	for i, s := range r.remote.RelayListKeys {
		if _, err := relaylist.ParseKey(s); err != nil {
			r.errs.add("relay_list_key", quote(s)+" is no key of a list", "as whoever publishes the list has shown it, and relay list key prints it: ed25519: and 44 characters")
		}
		if slices.Contains(r.remote.RelayListKeys[:i], s) {
			r.errs.add("relay_list_key", "the same one twice: "+quote(s))
		}
	}
}

// readableList checks that a list in a file is there.
func (r *remoteReader) readableList() {
	if !relaylist.IsURL(r.remote.RelayList) {
		r.errs.readable("relay_list", r.remote.RelayList)
	}
}

// relaysKeys are those of "remote relays".
var relaysKeys = []string{"relay_list", "relay_list_key", "relay_root", "state_dir", "proxy", "dns"}

// RelaysFlags adds the flags of "remote relays".
func RelaysFlags(fs *pflag.FlagSet) { register(fs, someKeys(relaysKeys)) }

// LoadRelays reads what [LoadRemote] reads of the flags of [RelaysFlags], their variables
// and the defaults. List, if it is not empty, counts before them. RelayList is not empty.
func LoadRelays(fs *pflag.FlagSet, list string) (*Remote, error) {
	r, err := loadSome(fs, relaysKeys)
	if err != nil {
		return nil, err
	}
	if list != "" {
		r.remote.RelayList = list
	}
	if r.remote.RelayList == "" {
		r.errs.add("relay_list", "missing", "name the list: remote relays https://lists.example/relays.json, or a file")
	}
	r.relayList()
	r.readableList()
	r.errs.proxy("proxy", &r.remote.Proxy)
	r.errs.dns("dns", &r.remote.DNS)
	r.errs.readable("relay_root", r.remote.RelayRoot)
	var errs Errors
	if r.remote.Proxy == "" {
		errs = proxyVariables()
	}
	return r.remote, finish(r.src, append(errs, repeated(fs, r.src.keys)...), r.errs, "relay_list")
}
