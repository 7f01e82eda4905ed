package main

import (
	"context"
	"fmt"
	"time"

	"keystay/internal/cli"
)

// stopGrace is how long a stop may take beyond the drain.
const stopGrace = 10 * time.Second

// drain is the orderly end: no new visitors, and some time for those who are
// here.
func (p *process) drain(cut context.Context) error {
	// systemd ends a service that takes longer to stop than its unit says.
	p.notify(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d", (p.now().cfg.DrainTimeout + stopGrace).Microseconds()))
	p.closeControl()
	end, cancel := context.WithTimeout(cut, p.now().cfg.DrainTimeout)
	defer cancel()
	defer cli.TellDrain(p.log, p.now().cfg.DrainTimeout, p.srv.Visitors)()
	if err := p.srv.Shutdown(end); err != nil {
		p.log.Warn("visitors were cut off", "err", cli.CutReason(err, p.now().cfg.DrainTimeout))
	}
	return nil
}

// leave is the orderly end of the old process: the visitors who are here have
// takeover_drain, and drain_timeout from the first signal.
func (p *process) leave(drain, cut context.Context, old *oldProcess) error {
	defer old.Close()
	p.left.Store(true)
	p.log.Info("a new process has taken over; visitors who are here may finish", "for", p.now().cfg.TakeoverDrain)
	end, cancel := context.WithTimeout(cut, p.now().cfg.TakeoverDrain)
	defer cancel()
	defer context.AfterFunc(drain, func() {
		defer cli.TellDrain(p.log, p.now().cfg.DrainTimeout, p.srv.Visitors)()
		select {
		case <-time.After(p.now().cfg.DrainTimeout):
			cancel()
		case <-end.Done():
		}
	})()
	p.wg.Go(func() {
		if p.listenTo(old) {
			p.log.Warn("this process has not read for long, and missed which names others have now: its visitors are cut off")
			cancel()
		}
	})
	if err := p.srv.HandOver(end, old.Pass); err != nil {
		p.log.Warn("visitors were cut off", "err", err)
	}
	p.log.Info("the last visitor of the old process has gone")
	return nil
}

// close ends what is still there. Err is why the process ends, or nil.
func (p *process) close(err error) {
	if p.takeover != nil {
		p.takeover.close(err)
	}
	p.closeAPI()
	p.node.close()
	if p.srv != nil {
		p.srv.Close()
	}
	p.closeControl()
	if p.stopAnnounce != nil {
		p.stopAnnounce()
	}
	p.wg.Wait()
	closeAll(p.sockets)
	if p.stopReopen != nil {
		p.stopReopen()
	}
	p.grants.close()
	p.audit.Close()
	if p.cert != nil {
		p.cert.close()
	}
}
