package main

import (
	"fmt"

	"keystay/internal/cli"
	"keystay/internal/hint"
)

// maxPortsTried is how many of the public TCP ports are tried.
const maxPortsTried = 4096

// tcpPorts looks whether the public TCP ports can be listened on. While a relay runs, it
// has some of them.
func (c *checker) tcpPorts() []cli.Finding {
	const step = "tcp_ports"
	all := tcpPorts(c.cfg)
	if all.Count() == 0 {
		return nil
	}
	if c.running != nil {
		return []cli.Finding{cli.NotRun(step, all.String(), "the relay that runs has those of its devices")}
	}
	listen := listenPort(c.cfg)
	tried, failed := min(all.Count(), maxPortsTried), 0
	var first error
	for i := range tried {
		list, err := listen(all.First + uint16(i))
		if err != nil {
			if failed++; first == nil {
				first = err
			}
			continue
		}
		for _, ln := range list {
			ln.Close()
		}
	}
	if failed > 0 {
		return []cli.Finding{cli.Note(step, all.String(), hint.CheckTCPPorts.Error(fmt.Errorf("%d of %d cannot be had, the first by this: %w", failed, tried, first)))}
	}
	return []cli.Finding{cli.Fine(step, all.String(), "they can be had (%d tried); let them through in the firewall, too", tried)}
}
