//go:build linux

package link

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

const (
	mtu = 1500
	// unsentPackets is how many packets a device keeps for the process that
	// carries them: enough that the link's own queue is what overflows.
	unsentPackets = 20_000
)

// newTUN makes a TUN device in the namespace, with an address in a net of 24
// bits. It is gone when the file is closed. With unix.O_NONBLOCK among the flags a
// read of the file ends when it is closed.
func newTUN(s *Space, name string, address netip.Addr, flags int) (file *os.File, err error) {
	fd := -1
	err = s.Do(func() error {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|flags, 0); err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			return fmt.Errorf("make TUN device: %w", err)
		}
		if err := configure(name, address); err != nil {
			return fmt.Errorf("configure TUN device: %w", err)
		}
		return raise(name)
	})
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil // the device is there by now: before that it cannot be waited for
}

func configure(name string, address netip.Addr) error {
	return control(func(fd int) error {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		a := address.As4()
		if err := ifr.SetInet4Addr(a[:]); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, ifr); err != nil {
			return err
		}
		if err := ifr.SetInet4Addr([]byte{255, 255, 255, 0}); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFNETMASK, ifr); err != nil {
			return err
		}
		ifr.SetUint32(mtu)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr); err != nil {
			return err
		}
		ifr.SetUint32(unsentPackets)
		return unix.IoctlIfreq(fd, unix.SIOCSIFTXQLEN, ifr)
	})
}

// raise makes a device of this thread's namespace go up.
func raise(name string) error {
	return control(func(fd int) error {
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			return fmt.Errorf("raise %s: %w", name, err)
		}
		return nil
	})
}

// control calls f with a socket that devices are spoken to by.
func control(f func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return f(fd)
}
