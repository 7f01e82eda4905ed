package remote

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"keystay/framing"
)

// lateTimeout is how long a visitor that was on its way when the device
// stopped may take to reach Accept.
const lateTimeout = 5 * time.Second

// stop ends the device for the given reason, once. Three things end, one after
// the other: ctx, so that nothing is dialled any more; late, when the relays know
// and every visitor that they sent on before has reached Accept; and cut, when
// the last visitor has ended.
func (d *Device) stop(reason error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopped {
		return
	}
	d.stopped = true
	d.cancel(reason)
	d.wg.Go(d.drain)
}

// drain tells the relays, waits for the streams that are open, and then ends
// everything.
func (d *Device) drain() {
	late := time.AfterFunc(lateTimeout, d.endLate)
	d.wg.Go(func() {
		d.arriving.Wait()
		late.Stop()
		d.endLate()
	})
	var wg sync.WaitGroup
	for _, link := range d.allLinks() {
		wg.Go(func() {
			link.GoAway(d.late, framing.GoAway{Code: framing.GoAwayShutdown, Text: "the remote stops"})
			<-d.late.Done()
			link.WaitIdle(d.cut)
			link.CutLanes()
			link.Close()
		})
	}
	wg.Go(func() {
		<-d.late.Done()
		if d.home.waitGone(d.cut, nil) != nil {
			d.home.cut(nil)
			_ = d.home.waitGone(context.Background(), nil)
		}
	})
	wg.Wait()
	listeners := d.allListeners()
	d.orders.close()
	d.cutAll()
	for _, l := range listeners {
		_ = l.unlock()
	}
}

// Close takes no new visitors of any name; the relays are told. Connections that were
// accepted live on, and the links as long as they do. Close does not wait: see
// Shutdown. Go on with Accept of each listener until it fails.
func (d *Device) Close() error {
	d.stop(net.ErrClosed)
	return nil
}

// Shutdown stops the device, waits until its visitors have ended or ctx ends,
// cuts those that are left, and waits until all is gone. It returns an error that
// wraps ctx's when visitors had to be cut.
func (d *Device) Shutdown(ctx context.Context) error {
	d.stop(net.ErrClosed)
	cut := 0
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		cut = d.Visitors()
		d.cutAll()
	})
	d.wg.Wait()
	if stop() {
		return nil
	}
	if <-done; cut == 0 {
		return nil
	}
	return fmt.Errorf("%d of them: %w", cut, ctx.Err())
}

// Visitors is how many visitors' connections are open, of all names.
func (d *Device) Visitors() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for link := range d.links {
		n += link.NumStreams()
	}
	return n + d.home.count(nil)
}
