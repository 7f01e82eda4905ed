package config

import (
	"slices"

	"github.com/spf13/pflag"

	"keystay/internal/relaylist"
)

// autoRelay is the word for a relay that is taken out of a list.
const autoRelay = "auto"

// auto checks the word for a relay out of a list, and takes it out of the relays.
func (e *Errors) auto(r *Remote) {
	if !slices.Contains(r.Relays, autoRelay) {
		return
	}
	const oneRelay = "a token is for one relay: remote login RELAY keeps it for that relay alone, and then it may be taken"
	switch {
	case len(r.Relays) > 1:
		e.add("relay", "auto stands beside other relays", "auto alone, or the relays that are meant")
	case r.RelayList == "":
		e.add("relay_list", "missing, and relay is auto", "name the list, whose publisher you trust: --relay-list https://lists.example/relays.json")
	}
	if len(r.RelayAddresses) > 0 {
		e.add("relay_address", "relay is auto, and which relay it will be is not known", "take it out, or name the relay")
	}
	if r.Token != "" {
		e.add("token", "relay is auto, and a list does not say who may have the token", oneRelay)
	}
	if r.TokenFile != "" {
		e.add("token_file", "relay is auto, and a list does not say who may have the token", oneRelay)
	}
	r.RelayAuto, r.Relays = true, nil
}

// relayList checks where a list is, and the keys that sign it.
func (e *Errors) relayList(r *Remote) {
	if relaylist.IsURL(r.RelayList) {
		if err := relaylist.CheckURL(r.RelayList); err != nil {
			e.add("relay_list", quote(r.RelayList)+": "+err.Error(), "as in https://lists.example/relays.json, or a file")
		}
	}
	for i, s := range r.RelayListKeys {
		if _, err := relaylist.ParseKey(s); err != nil {
			e.add("relay_list_key", quote(s)+" is no key of a list", "as whoever publishes the list has shown it, and relay list key prints it: ed25519: and 44 characters")
		}
		if slices.Contains(r.RelayListKeys[:i], s) {
			e.add("relay_list_key", "the same one twice: "+quote(s))
		}
	}
}

// readableList checks that a list in a file is there.
func (e *Errors) readableList(r *Remote) {
	if !relaylist.IsURL(r.RelayList) {
		e.readable("relay_list", r.RelayList)
	}
}

// relaysKeys are those of "remote relays".
var relaysKeys = []string{"relay_list", "relay_list_key", "relay_root", "state_dir", "proxy", "dns"}

// RelaysFlags adds the flags of "remote relays".
func RelaysFlags(fs *pflag.FlagSet) { register(fs, someKeys(relaysKeys)) }

// LoadRelays reads what [LoadRemote] reads of the flags of [RelaysFlags], their variables
// and the defaults. List, if it is not empty, counts before them. RelayList is not empty.
func LoadRelays(fs *pflag.FlagSet, list string) (*Remote, error) {
	r, wrong, src, err := loadSome(fs, relaysKeys)
	if err != nil {
		return nil, err
	}
	if list != "" {
		r.RelayList = list
	}
	if r.RelayList == "" {
		wrong.add("relay_list", "missing", "name the list: remote relays https://lists.example/relays.json, or a file")
	}
	wrong.relayList(r)
	wrong.readableList(r)
	wrong.proxy("proxy", &r.Proxy)
	wrong.dns("dns", &r.DNS)
	wrong.readable("relay_root", r.RelayRoot)
	var errs Errors
	if r.Proxy == "" {
		errs = proxyVariables()
	}
	return r, finish(src, append(errs, repeated(fs, src.keys)...), wrong, "relay_list")
}
