package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
	"github.com/rogpeppe/go-internal/testscript"

	"keystay/acme"
	"keystay/e2e/internal/world"
	"keystay/remote"
)

// A nameserver is NSD, with the zones example.test, relay.test and test.
type nameserver struct {
	addr    string
	dir     string
	process *world.Process // nil while it is down
	serial  uint32
	log     world.Transcript
}

// nameserverCommand is the command
//
//	nameserver FILE
//
// which makes NSD, at $NAMESERVER, serve the zone example.test with the records of
// FILE: in it {DIR} is the label made from the key in the state directory DIR, which
// is made if need be, and {DIR:account} the URL of its ACME account. And
//
//	nameserver stop
func nameserverCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nameserver FILE|stop")
	}
	w := settingOf(ts)
	n := &w.names
	if n.addr == "" {
		n.addr, n.dir = ts.Getenv("NAMESERVER"), filepath.Join(ts.Getenv("WORK"), "nsd")
		w.streams["nameserver"] = &n.log
	}
	if args[0] == "stop" {
		n.stop()
		return
	}
	var wrong error
	records := regexp.MustCompile(`\{(\w+)(:account)?\}`).ReplaceAllStringFunc(ts.ReadFile(args[0]), func(s string) string {
		dir, _, account := strings.Cut(strings.Trim(s, "{}"), ":")
		dir = ts.MkAbs(dir)
		if account {
			urls, err := acme.Accounts(remote.ACMEDir(dir))
			if err == nil && len(urls) != 1 {
				err = fmt.Errorf("%s has %d accounts", dir, len(urls))
			}
			if err != nil {
				wrong = err
			}
			return strings.Join(urls, " ")
		}
		label, _, err := remote.Identity(dir)
		if err != nil {
			wrong = err
		}
		return label
	})
	ts.Check(wrong)
	ts.Check(n.serve(records))
}

// The zones of the name server. $SERIAL is a number that grows.
const (
	zoneHead  = "$TTL 1\n@ SOA ns hostmaster $SERIAL 1 1 1 1\n@ NS ns\nns A 127.0.0.1\n"
	relayZone = "@ A 127.0.0.1\n* A 127.0.0.1\n"
)

// serve makes the name server serve the records from when it returns.
func (n *nameserver) serve(records string) error {
	n.serial++
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return err
	}
	zones := map[string]string{"example.test": records, zone: relayZone, "test": ""} // up to the top, where CAA records are looked for
	config := nsdConfig(n.addr, n.dir)
	for name, text := range zones {
		head := strings.ReplaceAll(zoneHead, "$SERIAL", fmt.Sprint(n.serial))
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte("$ORIGIN "+name+".\n"+head+text), 0o644); err != nil {
			return err
		}
		config += fmt.Sprintf("zone:\n  name: %s\n  zonefile: %[1]s\n", name)
	}
	file := filepath.Join(n.dir, "nsd.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	n.stop()
	cmd := exec.Command(systemProgram("nsd"), "-d", "-c", file)
	cmd.Stdout, cmd.Stderr = &n.log, &n.log
	var err error
	if n.process, err = world.Launch(cmd); err != nil {
		return fmt.Errorf("%w\nhint: apt-get install -y --no-install-recommends nsd", err)
	}
	return n.await()
}

func nsdConfig(addr, dir string) string {
	host, port, _ := net.SplitHostPort(addr)
	name := "root"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Sprintf("server:\n  ip-address: %s@%s\n  username: %s\n  chroot: \"\"\n  zonesdir: %q\n  xfrdir: %[4]q\n  pidfile: \"\"\n"+
		"  xfrdfile: \"\"\n  database: \"\"\n  zonelistfile: %q\n  server-count: 1\n  verbosity: 1\nremote-control:\n  control-enable: no\n",
		host, port, name, dir, filepath.Join(dir, "zone.list"))
}

// await waits until the zones are served as they are now.
func (n *nameserver) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), world.Patience)
	defer cancel()
	q := new(dns.Msg).SetQuestion("example.test.", dns.TypeSOA)
	var last error
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(ctx, time.Second)
		m, _, err := new(dns.Client).ExchangeContext(short, q, n.addr)
		<-tickOr(short, err)
		cancel()
		if last = err; err != nil {
			continue
		}
		if len(m.Answer) == 1 && m.Answer[0].(*dns.SOA).Serial == n.serial {
			return nil
		}
	}
	return fmt.Errorf("NSD does not serve its zones: %w", last)
}

// tickOr is closed at once where there is no error, else when ctx ends: a server that
// is not up yet refuses at once.
func tickOr(ctx context.Context, err error) <-chan struct{} {
	if err != nil {
		return ctx.Done()
	}
	done := make(chan struct{})
	close(done)
	return done
}

// stop ends the name server, if it runs.
func (n *nameserver) stop() {
	if n.process == nil {
		return
	}
	n.process.Signal(syscall.SIGTERM)
	<-n.process.Ended()
	n.process = nil
}
