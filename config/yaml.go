package config

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"keystay/internal/ownfile"
)

// MaxFile is the largest configuration file that is read, in bytes.
const MaxFile = 1 << 20

// place is a position in the file, counted from 1.
type place struct{ line, column int }

// file is a configuration file as read: the values for viper, and what only
// the YAML nodes know.
type file struct {
	name   string
	keys   []Key
	values map[string]any
	places map[string]place // of each value, by path as in "tokens[0].names[1]"
	faulty map[string]bool  // paths that a problem was reported for
	errs   Errors
	public bool // every user of the machine may read it
}

// readFile reads and parses the file. What is wrong with it is in its errs.
func readFile(name string, keys []Key) *file {
	fail := func(err error) *file {
		f := &file{name: name, keys: keys, faulty: map[string]bool{}}
		f.errs = Errors{{From: name, Message: fmt.Sprintf("cannot read the file: %v", reason(err)), Hints: unreadable(name, err)}}
		return f
	}
	data, info, err := ownfile.Load(name, MaxFile+1)
	if err != nil {
		return fail(err)
	}
	if len(data) > MaxFile {
		f := fail(fmt.Errorf("it is larger than %d bytes", MaxFile))
		f.errs[0].Hints = []string{"is this the right file? a configuration is text of a few lines"}
		return f
	}
	f := parseFile(name, ownfile.Text(data), keys)
	f.public = ownfile.IsOpen(info)
	return f
}

// parseFile parses data strictly against the keys.
func parseFile(name string, data []byte, keys []Key) *file {
	f := &file{name: name, keys: keys, places: map[string]place{}, faulty: map[string]bool{}}
	if line := binaryLine(data); line > 0 {
		f.errs = Errors{{From: name, Line: line, Message: "this line is not plain text",
			Hints: []string{"the file must be text in UTF-8: is this the right file?"}}}
		return f
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	example, _ := f.example()
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err == io.EOF || err == nil && isNull(&doc) {
		f.add(nil, "", "the file is empty", "start from the commented "+example+"; the one key that it must have is "+f.keys[0].Name)
		return f
	} else if err != nil {
		f.syntax(err, data)
		return f
	}
	if err := dec.Decode(&second); err == nil {
		f.add(&second, "", "a second document starts here", "keep one document and take out the line ---")
		return f
	} else if err != io.EOF {
		f.syntax(err, data)
		return f
	}
	f.values = f.group(doc.Content[0], "", "")
	return f
}

// example is the commented file of these keys, and the least that such a file has.
func (f *file) example() (name, least string) {
	if f.keys[0].Name == "services" {
		return "deploy/remote.yaml", "services: [{local: 3000}]"
	}
	return "deploy/relay.yaml", "domain: relay.net"
}

func isNull(doc *yaml.Node) bool {
	return len(doc.Content) == 0 || kindOf(doc.Content[0]) == "nothing"
}

// add reports a problem at a node, and marks the path, so that no consequence
// of it is reported too.
func (f *file) add(n *yaml.Node, path, message string, hints ...string) {
	e := &Error{From: f.name, Key: path, Message: message, Hints: hints}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	f.errs = append(f.errs, e)
	f.faulty[path] = true
}

// isFaulty reports whether a problem was reported for path, for what it is
// part of, or for a part of it.
func (f *file) isFaulty(path string) bool {
	if f.faulty[""] || f.values == nil {
		return true
	}
	for p := path; p != ""; p = parent(p) {
		if f.faulty[p] {
			return true
		}
	}
	for p := range f.faulty {
		if strings.HasPrefix(p, path+".") || strings.HasPrefix(p, path+"[") {
			return true
		}
	}
	return false
}

// group reads a map. path is where it is in this file, schema the same with
// "[]" for each list index.
func (f *file) group(n *yaml.Node, path, schema string) map[string]any {
	if !f.isKind(n, path, "a map") {
		return nil
	}
	values := map[string]any{}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		at, want := join(path, name), join(schema, name)
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "":
			f.add(key, at, "this is no key", "a key is one word")
		case lines[name] > 0:
			f.add(key, at, fmt.Sprintf("key %s is here twice", quote(name)), fmt.Sprintf("the first is in line %d", lines[name]))
		case !slices.Contains(f.below(schema), name):
			f.unknown(key, path, schema)
		default:
			f.places[at] = place{value.Line, value.Column}
			if v := f.value(value, at, want); v != nil {
				values[name] = v
			}
		}
		if lines[name] == 0 {
			lines[name] = key.Line
		}
	}
	return values
}

// value reads what the schema wants at path; nil means that it was reported.
func (f *file) value(n *yaml.Node, path, schema string) any {
	known := slices.IndexFunc(f.keys, func(k Key) bool { return k.Name == schema })
	switch {
	case known < 0:
		if group := f.group(n, path, schema); group != nil {
			return group
		}
		return nil
	case f.keys[known].Kind == Number && kindOf(n) == "a number":
		return n.Value
	case f.keys[known].Alone != "" && kindOf(n) == "true or false":
		return n.Value
	case f.keys[known].Kind == Switch:
		if !f.isKind(n, path, "true or false") {
			return nil
		}
		return n.Value
	case f.keys[known].Kind == Text, f.keys[known].Kind == Number:
		if !f.isKind(n, path, "text") {
			return nil
		}
		return n.Value
	case f.keys[known].Kind == Lines && kindOf(n) == "a number":
		return []any{n.Value}
	case (f.keys[known].Kind == Texts || f.keys[known].Kind == Lines) && kindOf(n) == "text":
		if n.Value == "" && f.keys[known].Kind == Texts {
			return []any{}
		}
		return []any{n.Value}
	case f.keys[known].Kind == Pairs:
		return f.pairs(n, path)
	}
	if !f.isKind(n, path, "a list") {
		return nil
	}
	items := []any{} // never nil: an empty list in the file is an answer
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		f.places[at] = place{item.Line, item.Column}
		if f.keys[known].Kind == Table {
			items = append(items, f.group(item, at, schema+"[]"))
		} else if f.isKind(item, at, "text") {
			items = append(items, item.Value)
		}
	}
	return items
}

// pairs reads a map whose keys are the user's; nil means that it was reported.
func (f *file) pairs(n *yaml.Node, path string) any {
	if !f.isKind(n, path, "a map") {
		return nil
	}
	values := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		f.places[at] = place{value.Line, value.Column}
		_, twice := values[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "":
			f.add(key, at, "this is no key", "a key is one word")
		case twice:
			f.add(key, at, fmt.Sprintf("key %s is here twice", quote(key.Value)))
		case kindOf(value) == "a number" || f.isKind(value, at, "text"):
			values[key.Value] = value.Value
		}
	}
	return values
}

// below returns the words that the schema knows one level below path.
func (f *file) below(schema string) []string {
	var words []string
	for _, k := range f.keys {
		rest := k.Name
		if schema != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(k.Name, schema+"."); !ok {
				continue
			}
		}
		word, _, _ := strings.Cut(rest, ".")
		if word = strings.TrimSuffix(word, "[]"); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

// isKind reports whether the node is what is wanted: "text", "a list" or
// "a map". If not, that is reported.
func (f *file) isKind(n *yaml.Node, path, want string) bool {
	found := kindOf(n)
	if found == want {
		return true
	}
	example, least := f.example()
	var hint string
	switch {
	case found == "an anchor" || found == "an alias":
		f.add(n, path, "anchors and aliases are not taken here", "write the value out")
		return false
	case path == "":
		f.add(n, path, "the file must be a map, it is "+found, "write keys and values, as in "+least)
		return false
	case found == "nothing" && path == "domain":
		hint = ownNameHint
	case found == "nothing" && want == "text":
		hint = `write "" for an empty text, or take the key out`
	case found == "nothing" && want == "a list":
		hint = "write [] for an empty list, or take the key out"
	case want == "text" && found == "a number" && unitOf(path) != "":
		hint = "a number and its unit, as in " + quote(n.Value+unitOf(path))
	case want == "text" && found == "a number" && path == "admin.listen" && isPort(n.Value):
		hint = "with its host, in quotes: " + quote("127.0.0.1:"+n.Value)
	case want == "text" && found == "a number" && strings.HasSuffix(indexes.ReplaceAllString(path, ""), "listen") && isPort(n.Value):
		hint = "with a colon, in quotes: [" + quote(":"+n.Value) + "]"
	case want == "text" && n.Kind == yaml.SequenceNode && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode:
		hint = "take the brackets away"
	case path == "tokens" && found == "text", path != "tokens" && strings.HasPrefix(path, "tokens[") && want == "a map":
		hint = `as in tokens: [{secret_file: FILE, names: ["xyz.relay.net"]}]`
	case want == "a map" && found == "text" && f.firstBelow(path) != "":
		hint = fmt.Sprintf("as in %s: {%s: …}", path[strings.LastIndexByte(path, '.')+1:], f.firstBelow(path))
	case found == "true or false" && want == "text" && switches[path] != "":
		hint = switches[path]
	case want == "true or false" && slices.Contains([]string{"yes", "on", "y", "1"}, strings.ToLower(n.Value)):
		hint = "did you mean true?"
	case want == "true or false" && slices.Contains([]string{"no", "off", "n", "0"}, strings.ToLower(n.Value)):
		hint = "did you mean false?"
	case want == "true or false":
		hint = want
	case want == "text" && n.Kind == yaml.ScalarNode:
		hint = "put it in quotes" // not shown: it may be a key
	case want == "a list" && (found == "true or false" || slices.Contains([]string{"", "off", "no", "none", "false"}, n.Value) && found == "text"):
		hint = "write [] for an empty list, which is off"
	case want == "a list" && found == "text" && n.Value == "*":
		hint = `*. and a name, as in ["*.relay.net"]`
	case want == "a list" && found == "text":
		hint = "put it in brackets: [" + quote(n.Value) + "]"
	case want == "a list" && found == "a number" && strings.HasSuffix(path, "listen") && isPort(n.Value):
		hint = "with a colon, in brackets: [" + quote(":"+n.Value) + "]"
	case want == "a list" && found == "a map" && f.isTable(path):
		hint = fmt.Sprintf("each of the list begins with a dash, or all in brackets: %s: [{…}]", path[strings.LastIndexByte(path, '.')+1:])
	default:
		hint = "as in " + example
	}
	f.add(n, path, fmt.Sprintf("%s must be %s, it is %s", path, want, found), hint)
	return false
}

// switches are words for settings that look like switches, and have other words.
var switches = map[string]string{
	"lanes": "auto or off", "siblings": "auto or off", "ct": "auto, off or the URL of a monitor", "probe.mode": "auto or off", "acme.rehearsal": "auto or off",
	"proxy": "none is to go without a proxy", "admin.listen": `write "" to turn it off`,
	"reload": "keep or takeover", "names.policy": "open, token or closed", "names.key_names": "open, token or off",
}

// isTable reports whether a list of maps is wanted at path.
func (f *file) isTable(path string) bool {
	schema := indexes.ReplaceAllString(path, "[]")
	return slices.ContainsFunc(f.keys, func(k Key) bool { return k.Name == schema && k.Kind == Table })
}

// firstBelow is the first key of the map at path, or "".
func (f *file) firstBelow(path string) string {
	for _, word := range f.below(indexes.ReplaceAllString(path, "[]")) {
		return word
	}
	return ""
}

// indexes are those of the lists in a path.
var indexes = regexp.MustCompile(`\[[0-9]+\]`)

// kindOf names what a node is, for people.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Anchor != "":
		return "an anchor"
	case n.Kind == yaml.MappingNode:
		return "a map"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!str":
		return "text"
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!timestamp":
		return "a date"
	}
	return "a value with the tag " + quote(n.Tag)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
