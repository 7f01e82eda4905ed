package main

import "keystay/relay/operator"

// inEffect returns the configuration that the process runs with, and where each part
// of it came from.
func (p *process) inEffect() operator.Config {
	c := operator.Config{Settings: []operator.Setting{}}
	for _, s := range p.now().settings {
		c.Settings = append(c.Settings, operator.Setting{Key: s.Key, Value: s.Value, From: s.From, Line: s.Line})
	}
	return c
}
