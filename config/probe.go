package config

import (
	"net/url"
	"slices"
)

// maxProbeProxies is how many proxies a remote looks through: each is one connection more
// for each address of each name.
const maxProbeProxies = 8

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
	if r.Probe == "off" && r.ProbeDNS != "" {
		e.add("probe.dns", "nothing is looked at with probe off")
	}
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
