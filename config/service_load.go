package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A serviceReader reads what is published, checks it and gathers what is wrong.
type serviceReader struct {
	errs     Errors
	told     Errors // that know where they came from
	src      *source
	remote   *Remote // all but its services is there
	warnings []Warning
	given    []Given // services that neither the file nor flags say; nil where they do
	folders  []servedFolder
}

// A block is one map of the file, or what flags say in its place.
type block struct {
	path   string
	values map[string]any
}

func (b block) at(key string) string { return join(b.path, key) }

func (b block) has(key string) bool { return b.values[key] != nil }

func (b block) text(key string) string {
	switch v := b.values[key].(type) {
	case string:
		return v
	case []any:
		if len(v) > 0 {
			return fmt.Sprint(v[0])
		}
	}
	return ""
}

// nameKey returns the key that says a name, or "" where there is none.
func (b block) nameKey() string {
	for _, key := range []string{"domain", "name"} {
		if b.has(key) {
			return key
		}
	}
	return ""
}

// list returns a list of texts.
func (b block) list(key string) (list []string) {
	items, _ := b.values[key].([]any)
	for _, item := range items {
		list = append(list, fmt.Sprint(item))
	}
	return list
}

// group returns a map below the block, or an empty one where there is none.
func (b block) group(key string) block {
	values, _ := b.values[key].(map[string]any)
	return block{b.at(key), values}
}

// rows returns the maps of a list of maps.
func (b block) rows(key string) (rows []block) {
	items, _ := b.values[key].([]any)
	for i, item := range items {
		values, _ := item.(map[string]any)
		rows = append(rows, block{fmt.Sprintf("%s[%d]", b.at(key), i), values})
	}
	return rows
}

// read reads all services: those of the file, or the ones that flags, variables and
// the arguments make.
func (r *serviceReader) read(args []string) {
	if r.given != nil {
		r.readGiven()
		return
	}
	if r.src.file != nil && !r.inFile() && len(args)+len(r.src.lines("local"))+len(r.src.lines("tcp")) == 0 {
		r.errs.add("services", "missing: there is nothing to publish", "services: [{local: 3000}], or --local")
		return
	}
	blocks := r.flagServices(args)
	if r.inFile() {
		r.onlyFile(args)
		blocks = block{"", r.src.file.values}.rows("services")
		if len(blocks) == 0 {
			r.errs.add("services", "empty: there is nothing to publish", "services: [{local: 3000}]")
		}
	}
	for _, b := range blocks {
		r.remote.Services = append(r.remote.Services, r.service(b))
	}
	r.names(blocks)
	portsApart(r.remote)
}

// inFile reports whether the file says what is published, be it wrong.
func (r *serviceReader) inFile() bool {
	f := r.src.file
	return f != nil && (f.values == nil || f.values["services"] != nil || f.isFaulty("services"))
}

// onlyFile reports what flags and variables say of services, where the file does.
func (r *serviceReader) onlyFile(args []string) {
	report := func(from string) {
		r.told = append(r.told, &Error{From: from, Message: "the services are in " + r.src.file.name,
			Hints: []string{"put it into one of the services there, or take the services out of the file"}})
	}
	if len(args) > 0 {
		report("the argument")
	}
	for _, k := range r.src.keys {
		if !k.isMember() || k.Flag == "" {
			continue
		}
		if from, at := r.src.origin(k.Name); at == (place{}) && from != "" && from != r.src.file.name {
			report(from)
		}
	}
}

// flagServices returns a block for each local service that flags, variables and the
// arguments give, with the names that lead to it.
func (r *serviceReader) flagServices(args []string) []block {
	type name struct{ key, value string }
	var names []name
	for _, key := range []string{"domain", "name"} {
		for _, value := range r.src.list(key) {
			names = append(names, name{key, value})
		}
	}
	locals, ports := r.src.lines("local"), r.src.lines("tcp")
	if len(args) > 0 {
		locals = args
	}
	count := 1
	if len(locals)+len(names) == 0 && len(ports) > 0 {
		count = 0
	}
	if len(locals) > 1 {
		count = len(locals)
		if n := max(1, len(names)); n != count && !r.inFile() {
			r.errs.add("services[0].local", fmt.Sprintf("there are %d local services and %s", count, countOf(n, "name")),
				append(valueApart(r.src.flags), "one for all names, or one for each --domain or --name, in their order; those of --domain come first")...)
			count = 1
		}
	}
	blocks := make([]block, count)
	for i := range blocks {
		values := map[string]any{}
		for j, n := range names {
			if count == 1 || j == i {
				list, _ := values[n.key].([]any)
				values[n.key] = append(list, n.value)
			}
		}
		if len(locals) > 0 {
			values["local"] = []any{locals[i]}
		}
		r.flagValues(values)
		blocks[i] = block{fmt.Sprintf("services[%d]", i), values}
	}
	for i, port := range ports {
		values := map[string]any{"tcp": []any{port}}
		if i == 0 && count == 0 { // what is for names alone is told of once
			r.flagValues(values)
		} else {
			r.flagRanges(values)
		}
		blocks = append(blocks, block{fmt.Sprintf("services[%d]", len(blocks)), values})
	}
	return blocks
}

// flagRanges fills in which visitors all services are for.
func (r *serviceReader) flagRanges(values map[string]any) {
	for _, key := range []string{"allow", "deny"} {
		if r.src.isSet("services[0]." + key) {
			values[key] = anyList(r.src.list(key))
		}
	}
}

// flagValues fills in what flags and variables say of all services alike.
func (r *serviceReader) flagValues(values map[string]any) {
	for key, flag := range map[string]string{"host_header": "host-header", "cert": "cert", "key": "key"} {
		if r.src.isSet("services[0]." + key) {
			values[key] = r.src.text(flag)
		}
	}
	r.flagRanges(values)
	for _, key := range []string{"domain", "name"} {
		if r.src.isSet("services[0]."+key) && len(r.src.list(key)) == 0 {
			values[key] = []any{}
		}
	}
	gate := map[string]any{}
	if r.src.isSet("services[0].gate.passwords") {
		gate["passwords"] = anyList(r.src.lines("auth"))
	}
	if r.src.isSet("services[0].gate.password_file") {
		gate["password_file"] = r.src.text("auth-file")
	}
	if len(gate) > 0 {
		values["gate"] = gate
	}
}

func anyList(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// service reads one service.
func (r *serviceReader) service(b block) Service {
	s := Service{Relays: b.list("relay"), RelayAddresses: b.list("relay_address")}
	for i := range s.Relays {
		r.errs.relay(b.at("relay"), &s.Relays[i])
	}
	relays := s.Relays
	if len(relays) == 0 {
		relays = r.remote.Relays
	}
	r.errs.relayAddresses(b.at("relay_address"), s.RelayAddresses, relays)
	if len(s.RelayAddresses) > 0 && len(s.Relays) == 0 {
		r.errs.add(b.at("relay_address"), "there is no relay beside it", "say in the same service whose address it is: relay: NAME")
	}
	if b.has("tcp") {
		r.tcp(b, &s)
	} else {
		if b.has("tcp_port") {
			r.errs.add(b.at("tcp_port"), "there is no tcp beside it", tcpForms)
		}
		r.serviceNames(b, &s, relays)
		r.target(b, &s)
		r.alpn(b, &s)
	}
	if b.has("proxy_protocol") {
		r.proxyProtocol(b, &s)
	}
	s.Gates = r.gates(b, &s)
	for _, key := range []string{"allow", "deny"} {
		if b.has(key) && len(b.list(key)) == 0 {
			r.errs.add(b.at(key), "empty", "to let everybody in, leave it out")
		}
	}
	s.Allow, s.Deny = r.ranges(b, "allow"), r.ranges(b, "deny")
	r.certificate(b, &s)
	return s
}

// path returns the value of a key that is a path, ready to open.
func (r *serviceReader) path(b block, key string) string {
	name := b.text(key)
	if name == "" || filepath.IsAbs(name) || !r.inFile() {
		return name
	}
	return filepath.Join(filepath.Dir(r.src.file.name), name)
}

// valueApart says how flags are written that may stand alone, and whose values are most
// likely among the arguments, as in --inspect 4040 or --plain yes.
func valueApart(fs *pflag.FlagSet) (hints []string) {
	if fs == nil {
		return nil
	}
	fs.Visit(func(flag *pflag.Flag) {
		f, ok := flag.Value.(*textFlag)
		switch {
		case ok && flag.NoOptDefVal != "" && f.value == flag.NoOptDefVal && isPort(fs.Arg(f.before)[strings.LastIndexByte(fs.Arg(f.before), ':')+1:]):
			hints = append(hints, fmt.Sprintf("did you mean --%s=%s?", flag.Name, fs.Arg(f.before)))
		case flag.Value.Type() == "bool":
			for _, arg := range fs.Args() {
				if slices.Contains([]string{"yes", "no", "on", "off", "true", "false"}, arg) {
					hints = append(hints, fmt.Sprintf("--%s alone switches it on: take %q out; --%s=false switches it off", flag.Name, arg, flag.Name))
				}
			}
		}
	})
	return hints
}

// local reads a local service. It reports whether there is one.
func (r *serviceReader) local(b block) (l Local, ok bool) {
	at := b.at("local")
	if len(b.list("local")) > 1 {
		r.errs.add(at, "one is enough", "several go by path, as in routes: [{path: /api/, local: 3000}, {path: /, local: ./public}]")
		return l, false
	}
	if !b.has("local") {
		if key := b.nameKey(); key != "" && len(r.src.lines("tcp")) > 0 && !r.inFile() {
			r.errs.add(b.at(key), "a TCP port has no name", "add --local for the name, or leave --"+key+" out")
			return l, false
		}
		meant := "remote 3000 publishes what listens on port 3000 of this machine"
		if r.inFile() {
			meant = "as in local: 3000, for what listens on port 3000 of this machine"
		}
		r.errs.add(at, "missing: there is nothing to publish", meant)
		return l, false
	}
	dir := ""
	if r.inFile() {
		dir = filepath.Dir(r.src.file.name)
	}
	s := b.text("local")
	l, err := parseLocal(s, dir)
	if err != nil {
		var hints []string
		if errors.Is(err, errPassword) {
			r.errs.add(at, err.Error(), "take all up to the @ out; a header that signs in is headers: {request: {set: {Authorization: …}}}")
			return l, false
		}
		if hints = valueApart(r.src.flags); len(hints) == 0 || r.inFile() {
			hints = nil
			if meant := cmp.Or(meantLocal(s), r.meantFolder(s, dir, err), meantHostPort(s, err)); meant != "" {
				hints = append(hints, meant)
			}
		}
		r.errs.add(at, err.Error(), append(hints, "it may be "+localForms)...)
		return l, false
	}
	return l, true
}

// meantFolder says that a folder was meant, where one of that name is below dir, or a file
// in one. That of settings is for meantHostPort.
func (r *serviceReader) meantFolder(s, dir string, err error) string {
	info, statErr := os.Stat(filepath.Join(dir, s))
	switch ext := filepath.Ext(s); {
	case !errors.Is(err, errPortMissing) || s == "" || statErr != nil || ext == ".yaml" || ext == ".yml":
	case info.IsDir():
		return fmt.Sprintf("did you mean %q?", "./"+s)
	case info.Mode().IsRegular() && !filepath.IsAbs(s):
		return s + " is a file, and folders are published: its folder is ./" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(s)), ".")
	}
	return ""
}

// switchOf reads a switch of the file.
func (b block) switchOf(key string) bool { return b.text(key) == "true" }

// span reads a duration, of which nothing is that of otherwise.
func (r *serviceReader) span(b block, key string, least, most, otherwise time.Duration) time.Duration {
	d := otherwise
	if s := b.text(key); s != "" {
		r.errs.span(b.at(key), &d, s, least, most)
	}
	return d
}

// headers reads what is changed of a head. Own are the fields that are not to be
// changed.
func (r *serviceReader) headers(b block, own func(canonical string) bool) HeaderChanges {
	var c HeaderChanges
	set, _ := b.values["set"].(map[string]string)
	if len(set) > 0 {
		c.Set = http.Header{}
	}
	for name, value := range set {
		at := join(b.at("set"), name)
		r.headerName(at, name, own)
		if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			r.errs.add(at, "a header is one line of text")
		}
		if c.Set.Get(name) != "" {
			r.errs.add(at, quote(name)+" is set twice", "upper and lower case are the same in names of headers")
		}
		c.Set.Set(name, value)
	}
	for _, name := range b.list("remove") {
		r.headerName(b.at("remove"), name, own)
		c.Remove = append(c.Remove, http.CanonicalHeaderKey(name))
	}
	return c
}
