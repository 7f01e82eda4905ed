package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxProbeProxies is how many proxies a remote looks through: each is one connection more
// for each address of each name.
const maxProbeProxies = 8

// maxProbePeers is how many other remotes a remote asks.
const maxProbePeers = 8

// probe checks what is said of looking at names from outside, and of what follows.
func (e *Errors) probe(r *Remote) {
	e.oneOf("probe.mode", r.Probe, "auto", "off")
	for i := range r.ProbeProxies {
		p := &r.ProbeProxies[i]
		if *p == "" || *p == NoProxy {
			e.add("probe.proxy", "this is no URL", "leave it out to look the direct way alone")
			continue
		}
		e.proxy("probe.proxy", p)
		if slices.Contains(r.ProbeProxies[:i], *p) {
			e.add("probe.proxy", "the same one twice")
		}
	}
	if len(r.ProbeProxies) > maxProbeProxies {
		e.add("probe.proxy", "there are more than 8 of them")
	}
	for i := range r.ProbeWith {
		e.peer("probe.with", &r.ProbeWith[i])
	}
	if len(r.ProbeWith) > maxProbePeers {
		e.add("probe.with", "there are more than 8 of them")
	}
	e.dns("probe.dns", &r.ProbeDNS)
	e.oneOf("on_intercept.then", r.OnIntercept, "warn", "stop")
	if len(r.InterceptRun) > 0 && r.InterceptRun[0] == "" {
		e.add("on_intercept.run", "the name of the program is empty")
	}
	if r.InterceptPost != "" && !isWebURL(string(r.InterceptPost)) {
		e.add("on_intercept.post", "this is no URL", "as in https://hooks.example.com/…") // which may hold a secret
	}
	if r.Probe == "off" && len(r.ProbeProxies) > 0 {
		e.add("probe.proxy", "nothing is looked at with probe off")
	}
	if r.Probe == "off" && len(r.ProbeWith) > 0 {
		e.add("probe.with", "nothing is looked at with probe off")
	}
	if r.Probe == "off" && r.ProbeDNS != "" {
		e.add("probe.dns", "nothing is looked at with probe off")
	}
}

// peer reads another remote, whose name stands as it was written.
func (e *Errors) peer(key string, p *ProbePeer) {
	const form = "as in app.example.org, or jmakhxkljw4tl7dchl2l5qpziclggzmn@app.example.org:8443"
	written := p.Name
	label, name, labelled := strings.Cut(written, "@")
	if !labelled {
		label, name = "", written
	}
	if labelled && (len(label) != 32 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz234567") != "") {
		e.add(key, quote(written)+" does not begin with the label of an identity", form, "remote identity show says it, on that device")
		return
	}
	p.Label, p.Port = label, 443
	if host, port, err := net.SplitHostPort(name); err == nil {
		if !isPort(port) {
			e.add(key, quote(port)+" is no port", "a number from 1 to 65535")
			return
		}
		name = host
		p.Port, _ = strconv.Atoi(port)
	}
	var err error
	if p.Name, err = hostName(name); err != nil {
		e.add(key, err.Error(), form)
	}
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
