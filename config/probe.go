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
func (r *remoteReader) probe() {
	r.errs.oneOf("probe.mode", r.remote.Probe, "auto", "off")
	for i := range r.remote.ProbeProxies {
		p := &r.remote.ProbeProxies[i]
		if *p == "" || isWithout(string(*p)) {
			r.errs.add("probe.proxy", "this is no URL", "leave it out to look the direct way alone")
			continue
		}
		r.errs.proxy("probe.proxy", p)
		if slices.Contains(r.remote.ProbeProxies[:i], *p) {
			r.errs.add("probe.proxy", "the same one twice")
		}
	}
	if len(r.remote.ProbeProxies) > maxProbeProxies {
		r.errs.add("probe.proxy", "there are more than 8 of them")
	}
	for i := range r.remote.ProbeWith {
		r.errs.peer("probe.with", &r.remote.ProbeWith[i])
	}
	if len(r.remote.ProbeWith) > maxProbePeers {
		r.errs.add("probe.with", "there are more than 8 of them")
	}
	r.errs.dns("probe.dns", &r.remote.ProbeDNS)
	r.errs.oneOf("on_intercept.then", r.remote.OnIntercept, "warn", "stop")
	if len(r.remote.InterceptRun) > 0 && r.remote.InterceptRun[0] == "" {
		r.errs.add("on_intercept.run", "the name of the program is empty")
	}
	if r.remote.InterceptPost != "" && !isWebURL(string(r.remote.InterceptPost)) {
		r.errs.add("on_intercept.post", "this is no URL", "as in https://hooks.example.com/…") // which may hold a secret
	}
	if r.remote.Probe == "off" && len(r.remote.ProbeProxies) > 0 {
		r.errs.add("probe.proxy", "nothing is looked at with probe off")
	}
	if r.remote.Probe == "off" && len(r.remote.ProbeWith) > 0 {
		r.errs.add("probe.with", "nothing is looked at with probe off")
	}
	if r.remote.Probe == "off" && r.remote.ProbeDNS != "" {
		r.errs.add("probe.dns", "nothing is looked at with probe off")
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
