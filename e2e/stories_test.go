package e2e

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"google.golang.org/grpc/grpclog"

	"keystay/e2e/internal/pebble"
	"keystay/e2e/internal/world"
)

// testsAtOnce is how many tests and stories run side by side. They wait most of
// the time, so the number of cores would be too few.
const testsAtOnce = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		f.Value.Set(testsAtOnce)
	}
	world.EndAtOnce()
	// Before a test has a client of gRPC, such as that of etcd: it reads this without a lock.
	grpclog.SetLoggerV2(grpcFailure{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	// Under nohup the programs would ignore SIGHUP as this one does. What this one
	// catches, they get as usual.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(run(m))
}

// run runs the tests and removes the programs that they have built.
func run(m *testing.M) int {
	defer world.RemovePrograms()
	code := m.Run()
	if code != 0 {
		return code
	}
	// Pebble cannot stop this one.
	known := goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks")
	if err := goleak.Find(known); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestStories runs testdata/*.txtar; testdata/README.md has their words.
func TestStories(t *testing.T) {
	t.Parallel()
	if _, err := world.Programs(); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		RequireUniqueNames: true,
		Setup:              setUp,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":    start,
			"restarts": restarts,
			"exits":    exits,
			"signal":   signalProgram,
			"ended":    ended,
			"await":    await,
			"has":      has,
			"ca":       caCommand,
			"site":     siteCommand,
			"wire":     wireCommand,
			"copy":     copyFolder,
			"expire":   expire,
			"private":  private,
			"watch":    watchSockets,
			"sockets":  sockets,
			"lent":     lent,
			"needs":    needs,
			"browse":   browse,

			"monitor":    monitorCommand,
			"nameserver": nameserverCommand,
			"provider":   providerCommand,
			"signin":     signInCommand,
			"guide":      guideCommand,
			"clock":      clockCommand,
			"malice":     maliceCommand,
			"engine":     engineCommand,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Getuid() == 0, nil
			}
			if cond == "clock" {
				return runtime.GOOS == "linux" && runtime.GOARCH == "amd64", nil
			}
			if cond == "spaces" {
				return exec.Command("unshare", "-n", "true").Run() == nil, nil
			}
			if cond == "soak" {
				return soaking(), nil
			}
			if kind, ok := strings.CutPrefix(cond, "browses:"); ok {
				return mayBrowse(kind), nil
			}
			return false, fmt.Errorf("unknown condition")
		},
	})
}

// A setting is what one story has around it.
type setting struct {
	ca       *pebble.Server
	site     site
	programs map[string]*world.Process
	wires    map[string]*world.Proxy
	streams  map[string]*world.Transcript // what await and has look at
	watches  map[string]*socketWatch
	names    nameserver
	provider *http.Server // of OpenID Connect, or nil
	monitor  *monitor     // or nil
	malice   *eavesdropper
	engine   containerEngine
	guide    guide
	clocks   map[string]*wallClock
}

// The names of the stories.
const (
	zone    = "relay.test"
	storied = "xyz." + zone
)

type settingKey struct{}

func settingOf(ts *testscript.TestScript) *setting { return ts.Value(settingKey{}).(*setting) }

// setUp makes the world of a story: a CA, ports that are free but kept for it,
// and an environment in which the programs need no more flags than people give.
func setUp(env *testscript.Env) error {
	w := &setting{
		programs: make(map[string]*world.Process),
		wires:    make(map[string]*world.Proxy),
		streams:  make(map[string]*world.Transcript),
		watches:  make(map[string]*socketWatch),
		clocks:   make(map[string]*wallClock),
	}
	env.Values[settingKey{}] = w
	env.Defer(func() { w.tearDown(env.T()) })
	ports := make([]string, 4)
	for i := range ports {
		addr, release, err := reserve()
		if err != nil {
			return err
		}
		env.Defer(release)
		ports[i] = addr
	}
	public, plain, local := ports[0], ports[1], ports[2]
	var err error
	if w.ca, err = pebble.Start(pebble.Options{}); err != nil {
		return err
	}
	w.ca.SetTLSTarget(public)
	w.ca.SetHTTPTarget(plain)
	apiRoot, err := w.ca.APIRootFile(env.WorkDir)
	if err != nil {
		return err
	}
	root, err := w.ca.IssuerFile(env.WorkDir)
	if err != nil {
		return err
	}
	w.site.addr = local
	w.streams["site"] = &w.site.log
	env.Setenv("HOOK", ports[3])
	env.Setenv("HOOK_PORT", ports[3][strings.LastIndexByte(ports[3], ':')+1:])
	for key, value := range environs(env.WorkDir, public, plain, local, w.ca.DirectoryURL(), apiRoot, root) {
		env.Setenv(key, value)
	}
	bin, err := world.Programs()
	if err != nil {
		return err
	}
	env.Setenv("NAMESERVER", ports[3])
	docs, err := filepath.Abs("../docs")
	if err != nil {
		return err
	}
	env.Setenv("DOCS", docs)
	env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv(world.RaceOptions, os.Getenv(world.RaceOptions))
	return nil
}

// environs is the environment of a story: what its lines lean on, and what the
// programs need to know of the world.
func environs(dir, public, plain, local, ca, apiRoot, root string) map[string]string {
	_, port, _ := strings.Cut(public, ":")
	return map[string]string{
		"NAME":  storied,
		"URL":   "https://" + storied + ":" + port,
		"RELAY": public, "RELAY_PORT": port, "RELAY_HTTP": plain,
		"SITE": local, "SITE_PORT": local[strings.LastIndexByte(local, ':')+1:],
		"CA": ca, "CA_ROOT": apiRoot, "ROOT": root,
		"VISIT_VIA": public, "VISIT_PLAIN": plain, "VISIT_ROOT": root,

		"KEYSTAY_RELAY_DOMAIN":       zone,
		"KEYSTAY_RELAY_LISTEN":       public,
		"KEYSTAY_RELAY_HTTP_LISTEN":  plain,
		"KEYSTAY_RELAY_ADMIN_LISTEN": "127.0.0.1:0",
		"KEYSTAY_RELAY_STATE_DIR":    filepath.Join(dir, "relay"),
		"KEYSTAY_RELAY_ACME_CA":      ca,
		"KEYSTAY_RELAY_ACME_CA_ROOT": apiRoot,

		"KEYSTAY_REMOTE_RELAY_ADDRESS": public,
		"KEYSTAY_REMOTE_RELAY_ROOT":    root,
		"KEYSTAY_REMOTE_STATE_DIR":     filepath.Join(dir, "device"),
		"KEYSTAY_REMOTE_ACME_CA":       ca,
		"KEYSTAY_REMOTE_ACME_ROOT":     apiRoot,
		"KEYSTAY_REMOTE_PROBE_MODE":    "off", // else each name has one visitor more, at any time
	}
}

// tearDown ends what still runs. Each program must end in good order, and none
// may have panicked or raced.
func (w *setting) tearDown(t testscript.T) {
	defer w.engine.stop()
	var wrong []string
	var wg sync.WaitGroup
	var mu sync.Mutex
	for name, p := range w.programs {
		wg.Go(func() {
			err := p.Finish()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
			}
		})
	}
	wg.Wait()
	for _, l := range w.wires {
		l.Close()
	}
	for _, c := range w.clocks {
		c.close()
	}
	w.site.stop()
	w.names.stop()
	if w.monitor != nil {
		w.monitor.srv.Close()
	}
	if w.provider != nil {
		w.provider.Close()
	}
	if w.malice != nil {
		w.malice.close()
	}
	if w.ca != nil {
		w.ca.Close()
	}
	if f, ok := t.(interface{ Failed() bool }); t.Verbose() || len(wrong) > 0 || ok && f.Failed() {
		for name, s := range w.streams {
			t.Log(fmt.Sprintf("---- %s:\n%s", name, s.String()))
		}
	}
	if len(wrong) > 0 {
		t.Fatal(strings.Join(wrong, "\n"))
	}
}

// lookup finds a client of the outside in the system, or says how to get it.
func lookup(program, pkg string) error {
	if _, err := os.Stat(systemProgram(program)); err != nil {
		return fmt.Errorf("%s is not installed\nhint: apt-get install -y --no-install-recommends %s", program, pkg)
	}
	return nil
}

// needs is the command
//
//	needs PROGRAM PACKAGE
//
// which fails, with what to install, where the program is missing.
func needs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: needs PROGRAM PACKAGE")
	}
	ts.Check(lookup(args[0], args[1]))
}

// timeout returns a context for one step of a story.
func timeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
