package main

import (
	"strings"

	"keystay/remote/watch"
)

// words returns how people are told what the log says: for each message of
// remote, publish and acme that has better words than its own. What stands in
// braces is an attribute of the record. A part in brackets is left out where
// the record lacks its attribute. Nothing is said of a message with empty words.
func words() map[string]string {
	return map[string]string{
		"listening":                                                             "Visitors may come to {addr} too, without a relay.",
		"not listening any more":                                                "Visitors may not come to {addr} any more.",
		"looking for a relay":                                                   "Looking for a relay in the list {list}…",
		"a relay is taken out of the list, and kept":                            "Took the relay {relay}: {why}.",
		"no relay is taken yet; trying again":                                   "No relay yet: {err}. Trying again.",
		"the relay that was taken is not reached":                               "The relay {relay} is not reached for {for}.",
		"the key of the list is trusted from now on, since none was given":      "No key of the list was given: {key} is trusted from now on.",
		"session is up":                                                         "Connected to the relay {relay}[ again, after {after}].",
		"another link is up":                                                    "",
		"checking the link":                                                     "",
		"dialling again at once":                                                "",
		"waiting for the relay's answer":                                        "Waiting for the answer of {relay}…",
		"no session with the relay; trying again":                               "Not connected: {err}. Trying again.",
		"lost a link to the relay, another one serves; trying again":            "Lost one of the connections to {relay}, another one serves: {err}.",
		"the relay does not give this name yet; asking again":                   "The relay {relay} does not give {name} yet: {err}. Asking again.",
		"the relay gives one more name":                                         "The relay {relay} gives {name} now.",
		"the relay will not serve this name":                                    "The relay {relay} will not serve {name}: {err}.",
		"connections for bulk fail to this relay; all stays on the links":       "",
		"the URL of a name has moved":                                           "Visitors of {name} have to come to {to} now. It was {from}.",
		"a name is not served; the others go on":                                "{name} is not served: {err}. The others go on.",
		"configuration reloaded":                                                "The configuration has been read again: added {added}, changed {changed}, gone {gone}.",
		"files of the configuration have changed":                               "",
		"token reloaded":                                                        "",
		"looked at the name from outside":                                       "{name} from outside: {found}.",
		watch.Message:                                                           "INTERCEPTED: {text}.[ Its certificate is in {evidence}.]",
		"ordering certificate":                                                  "Asking {ca} for a certificate for {name}…",
		"certificate loaded":                                                    "",
		"certificate obtained":                                                  "There is a certificate for {name}, valid until {not_after}.",
		"no certificate obtained":                                               "No certificate for {name}: {error}. Tried again in {next}.",
		"the next CA is asked":                                                  "No certificate for {name}: {error}. The next CA is asked.",
		"a new certificate has to wait":                                         "No new certificate for {name} before {until}.",
		"the order goes on without a whole rehearsal":                           "The CA is asked for {name} although not every address could be looked at first: {why}.",
		"another replica orders its certificate first":                          "Another replica orders its certificate first. Waiting…",
		"watching certificate transparency":                                     "{monitor} is asked each hour for certificates of your names that are not this device's.",
		"not watching certificate transparency":                                 "Certificate transparency is not watched: {why}.",
		"the monitor of certificate transparency does not answer; asking again": "Certificate transparency was not looked at for {name}: {err}.",
		"the monitor of certificate transparency answers again":                 "Certificate transparency is looked at again for {name}.",
		"the watch of certificate transparency does not work":                   "The watch of certificate transparency does not work for {name}: {why}.",
		"the watch of certificate transparency works again: the monitor shows this device's certificate": "The watch of certificate transparency works again for {name}.",
		"a certificate from before this device kept its keys has a key that it does not know":            "{issuer} has issued a certificate for {name} before this device kept its keys, with a key that it does not know: {key}.",
		"the local service does not answer":       "The local service {local} does not answer: {err}.",
		"the local service gives a broken answer": "The local service {local} gives a broken answer: {err}.",
		"the local service answers again":         "The local service {local} answers again[, after {after}].",
		"draining":                                "Stopping. Visitors who are still there: {visitors}. They have until {until}.",
	}
}

// sentence returns the words for a message with these attributes. A message
// that is not in the table is said as it is, with its error. Neither such a
// message nor an attribute is read for braces and brackets, since others may
// have written them.
func sentence(table map[string]string, message string, attrs map[string]string) string {
	text, known := table[message]
	if !known {
		first := min(1, len(message))
		return strings.ToUpper(message[:first]) + message[first:] + fill("[: {err}][: {error}][ ({file})].", attrs)
	}
	return fill(text, attrs)
}

// fill returns a text of the table with the attributes in place.
func fill(text string, attrs map[string]string) string {
	for {
		before, rest, ok := strings.Cut(text, "[")
		if !ok {
			break
		}
		part, after, _ := strings.Cut(rest, "]")
		if _, name, found := strings.Cut(part, "{"); found {
			name, _, _ = strings.Cut(name, "}")
			if attrs[name] == "" {
				part = ""
			}
		}
		text = before + part + after
	}
	var pairs []string
	for name, value := range attrs {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text) // in one pass: what it has put in stays as it is
}
