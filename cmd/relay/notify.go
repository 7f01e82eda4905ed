package main

import "github.com/coreos/go-systemd/v22/daemon"

// notify tells the service manager about this process (sd_notify(3)), if there
// is one.
func (p *process) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.Warn("cannot tell the service manager", "state", state, "err", err)
	}
}
