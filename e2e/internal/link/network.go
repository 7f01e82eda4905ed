//go:build linux

package link

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
)

// A Cable is a link that has its devices, and wants to be run.
type Cable struct {
	Setup
	files [2]*os.File
}

// Connect makes the two devices of a link between a and b. The addresses are in
// one net of 24 bits, which no other link has. The caller closes the cable.
func Connect(a, b *Space, name string, left, right netip.Addr, s Setup) (c *Cable, err error) {
	c = &Cable{Setup: s}
	if c.files[0], err = newTUN(a, name, left, 0); err != nil {
		return nil, err
	}
	if c.files[1], err = newTUN(b, name, right, 0); err != nil {
		c.files[0].Close()
		return nil, err
	}
	return c, nil
}

// Files are the devices, for the process that calls Run.
func (c *Cable) Files() []*os.File { return c.files[:] }

// Close lets go of the devices. They are gone once no process has them.
func (c *Cable) Close() {
	c.files[0].Close()
	c.files[1].Close()
}

// Run carries the packets of links, between the devices that are open as the
// descriptors devices, two for each link. Each line of commands is a share of
// packets to lose from then on, in per cent. Run returns at the end of commands;
// what it has started ends with the process.
func Run(links []Setup, devices []int, commands io.Reader) error {
	var loss atomic.Uint64
	failed := make(chan error, 4*len(links))
	for i, s := range links {
		a, b := devices[2*i], devices[2*i+1]
		for side, p := range []*pipe{newPipe(s, a, b, &loss, uint64(2*i)), newPipe(s, b, a, &loss, uint64(2*i+1))} {
			go func() { failed <- fmt.Errorf("link %d.%d: %w", i, side, p.take()) }()
			go func() {
				if err := p.give(); err != nil {
					failed <- fmt.Errorf("link %d.%d: %w", i, side, err)
				}
			}()
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- obey(commands, &loss) }()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

func obey(commands io.Reader, loss *atomic.Uint64) error {
	s := bufio.NewScanner(commands)
	for s.Scan() {
		percent, err := strconv.ParseFloat(s.Text(), 64)
		if err != nil || percent < 0 || percent > 100 {
			return fmt.Errorf("no share of packets: %q", s.Text())
		}
		loss.Store(uint64(percent / 100 * lossUnit))
	}
	return s.Err()
}
