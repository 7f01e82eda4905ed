package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"keystay/internal/boltfile"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// state looks at the state directory and at the record of names. While a relay runs,
// that looks at the record itself, and its file changes.
func (c *checker) state() []cli.Finding {
	dir := c.cfg.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && ownfile.Dangling(dir) != nil:
		return []cli.Finding{cli.Amiss("state", dir, ownfile.Dangling(dir))}
	case errors.Is(err, fs.ErrNotExist):
		return []cli.Finding{cli.NotRun("state", dir, "it is made at the start")}
	case err != nil:
		return []cli.Finding{cli.Amiss("state", dir, stateError(dir, err))}
	case !info.IsDir():
		return []cli.Finding{cli.Amiss("state", dir, hint.StatePlace.Error(errors.New("it is no folder"), "DIR", dir))}
	case errors.Is(mayWrite(dir), syscall.EROFS): // whoever the relay runs as
		return []cli.Finding{cli.Amiss("state", dir, stateError(dir, syscall.EROFS))}
	case mayWrite(dir) != nil:
		return []cli.Finding{cli.Note("state", dir, hint.RelayState.Error(errors.New("this user may not write it, nor look into it"), "DIR", dir))}
	}
	list := []cli.Finding{cli.Fine("state", dir, "it can be written")}
	if err := ownfile.Exposed(dir); err != nil {
		list[0] = cli.Amiss("state", dir, err)
	}
	if c.cfg.Cluster.On() {
		return append(list, c.sharedRecord())
	}
	file := filepath.Join(dir, "names.db")
	if c.running != nil {
		return append(list, cli.NotRun("names", file, "the relay that runs looks at it: it says so under ready"))
	}
	return append(list, recordFile(file))
}

// recordFile looks whether the record of names is whole.
func recordFile(file string) cli.Finding {
	if err := names.IsRecord(file); err != nil {
		return cli.Amiss("names", file, err)
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return cli.NotRun("names", file, "it is made at the start")
	}
	if err != nil {
		return cli.Amiss("names", file, stateError(filepath.Dir(file), err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil {
		err = boltfile.Check(f, info.Size())
	}
	if err != nil {
		return cli.Amiss("names", file, hint.RecordDamaged.Error(fmt.Errorf("the record of names is damaged: %w", err), "FILE", file))
	}
	return cli.Fine("names", file, "the record of names is whole, %s", amount(info.Size()))
}

// sharedRecord looks whether etcd answers, and has the record of these nodes.
func (c *checker) sharedRecord() cli.Finding {
	about := strings.Join(c.cfg.Cluster.Etcd.Endpoints, " ")
	r, err := openShared(c.cfg, firstAnswer)
	if errors.Is(err, record.ErrNone) {
		return cli.NotRun("names", about, "etcd answers; the record is made at the start")
	}
	if err != nil {
		return cli.Amiss("names", about, err)
	}
	defer r.Close()
	n := 0
	_ = r.View(func(tx names.Tx) error { n = tx.Count(names.Kept()[0]); return nil })
	return cli.Fine("names", about, "etcd has the record of names: %d", n)
}

// ports looks whether each address can be listened on, or is by the relay that runs.
func (c *checker) ports() (list []cli.Finding) {
	for _, s := range configured(c.cfg) {
		about := s.what + " " + s.addr
		if c.running != nil {
			list = append(list, c.listened(about, s))
			continue
		}
		ln, err := net.Listen(network(s.addr, c.cfg), s.addr)
		if err != nil {
			list = append(list, cli.Amiss("listen", about, listenError(s.what, s.addr, err)))
			continue
		}
		ln.Close()
		list = append(list, cli.Fine("listen", about, "the port is free, and this user may have it"))
	}
	return list
}

// listened says whether the relay that runs has a socket of the configuration.
func (c *checker) listened(about string, s socket) cli.Finding {
	_, port, _ := net.SplitHostPort(s.addr)
	for _, has := range c.running.Sockets {
		if has.For == s.what && (port == "0" || strings.HasSuffix(has.Addr, ":"+port)) {
			return cli.Fine("listen", about, "the relay that runs listens there")
		}
	}
	return cli.Note("listen", about, hint.NotLive.Error(errors.New("the relay that runs does not listen there")))
}

// families are the families of addresses that the public sockets are for.
func (c *checker) families() (four, six bool) {
	for _, a := range c.cfg.Listen {
		host, _, _ := net.SplitHostPort(a)
		ip := net.ParseIP(host)
		switch n := network(a, c.cfg); {
		case host == "" || ip != nil && ip.IsUnspecified() && n == "tcp":
			return true, true
		case ip == nil: // a name
			return true, true
		case ip.To4() != nil:
			four = true
		default:
			six = true
		}
	}
	return four, six
}

// fewDescriptors is below which number of them a relay on the internet gets into
// trouble.
const fewDescriptors = 16 << 10

// descriptors says how many sockets and files there may be.
func (c *checker) descriptors() []cli.Finding {
	pid := 0
	if c.running != nil {
		pid = c.running.PID
	}
	n, ok := c.senses.descriptors(pid)
	about := "of this shell"
	if pid != 0 {
		about = "of the relay that runs"
	}
	switch {
	case !ok:
		return []cli.Finding{cli.NotRun("descriptors", "", "this system does not say how many may be open")}
	case n >= fewDescriptors:
		return []cli.Finding{cli.Fine("descriptors", about, "%d may be open", n)}
	case pid == 0:
		return []cli.Finding{cli.Note("descriptors", about, hint.CheckDescriptors.Error(fmt.Errorf("%d may be open", n)))}
	}
	return []cli.Finding{cli.Amiss("descriptors", about, hint.CheckDescriptors.Error(fmt.Errorf("%d may be open", n)))}
}

// A kernelSetting is one of the system's, and what is better than what most have.
type kernelSetting struct {
	key  string
	good string            // to write
	fine func(string) bool // whether a value needs no change
	why  string
}

// kernelSettings are those that make a difference to a relay.
func kernelSettings() []kernelSetting {
	atLeast := func(n int64) func(string) bool {
		return func(s string) bool {
			var is int64
			_, err := fmt.Sscan(s, &is)
			return err != nil || is >= n
		}
	}
	return []kernelSetting{
		{"net.core.somaxconn", "4096", atLeast(4096), "so many connections may wait to be accepted, as when all remotes come back at once"},
		{"net.ipv4.tcp_max_syn_backlog", "4096", atLeast(1024), "so many handshakes of TCP may be under way"},
		{"net.ipv4.tcp_syncookies", "1", func(s string) bool { return s != "0" }, "then a flood of SYN packets keeps nobody out"},
		{"net.ipv4.tcp_slow_start_after_idle", "0", func(s string) bool { return s == "0" }, "then a connection goes on after a pause as fast as before"},
	}
}

// kernel looks at the system's settings.
func (c *checker) kernel() (list []cli.Finding) {
	for _, k := range kernelSettings() {
		is, ok := c.senses.sysctl(k.key)
		switch {
		case !ok:
		case k.fine(is):
			list = append(list, cli.Fine("kernel", k.key, "it is %s", is))
		default:
			list = append(list, cli.Note("kernel", k.key, hint.CheckKernel.Error(fmt.Errorf("it is %s, and %s is better: %s", is, k.good, k.why), "KEY", k.key, "VALUE", k.good)))
		}
	}
	if len(list) == 0 {
		list = append(list, cli.NotRun("kernel", "", "this system does not tell its settings"))
	}
	return list
}

// here reports whether an address is one of this machine's.
func (c *checker) here(ip string) bool {
	return slices.Contains(c.senses.addresses(), ip)
}
