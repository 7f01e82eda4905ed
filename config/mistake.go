package config

import "strings"

// Mistake returns what is wrong with the value of a key in a remote's file of that
// name, such as a certificate that it names. Key is as in "services[0].cert"; the one
// gate of a service may be called gates[0]. Without a file it is the mistake of the flag
// that says the key. It returns nil where neither says the service.
func Mistake(file, key, message string, hints ...string) error {
	if file == "" {
		return flagMistake(key, message, hints...)
	}
	f := readFile(file, remoteFileKeys())
	for _, path := range []string{key, strings.Replace(key, ".gates[0]", ".gate", 1)} {
		if at, ok := f.places[path]; ok {
			return Errors{{From: file, Line: at.line, Column: at.column, Key: path, Message: path + ": " + message, Hints: hints}}
		}
	}
	if at, ok := f.places[parent(key)]; ok {
		return Errors{{From: file, Line: at.line, Column: at.column, Key: key, Message: key + ": " + message, Hints: hints}}
	}
	return nil
}

// flagMistake is Mistake for a key that a flag has said.
func flagMistake(key, message string, hints ...string) error {
	schema := indexes.ReplaceAllString(strings.Replace(key, ".gates[0]", ".gate", 1), "[]")
	for _, k := range RemoteKeys() {
		if k.Name == schema && k.Flag != "" {
			return Errors{{From: "--" + k.Flag, Key: key, Message: message, Hints: hints}}
		}
	}
	return nil
}
