package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/engine"
	"keystay/internal/hint"
)

// dockerCommand publishes containers by their labels.
func dockerCommand() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "docker",
		Short: "Publish containers by their labels, following their starts and stops",
		Long: `Asks Docker, or Podman by its socket, which containers run, and publishes those that
have one of these labels. A container that starts or stops changes nothing of the others.

  keystay.domain   the public name, or several with commas
  keystay.name     a name made from the device's key and this word, or several
  keystay.port     the container's port; without it the only one that it exposes
  keystay.scheme   http (the default), https, https+insecure, h2c, tcp or tls
  keystay.network  the network to reach it on, where it is in several

It takes the flags that remote takes for all services alike, such as --relay and --auth,
and a file with --config that has no services.

Whoever may start containers may publish them with this. It was tried against recorded
answers and the engine's own client library, and never against a real engine.`,
		Example: `  remote docker --relay relay.net
  docker run --label keystay.domain=xyz.relay.net --label keystay.port=80 nginx
  remote docker --socket $XDG_RUNTIME_DIR/podman/podman.sock`,
		Args: cli.NoArgs(),
		RunE: func(c *cobra.Command, _ []string) error {
			p := &process{file: config.RemoteFile(c.Flags()), out: os.Stdout}
			p.containers = newContainers(c.Flags(), socket)
			p.load = func() (*config.Remote, []config.Warning, error) { return loaded(p.containers.load()) }
			var warnings []config.Warning
			var err error
			if p.cfg, warnings, err = p.load(); err != nil {
				return cli.Usage(err)
			}
			return run(c.Context(), p, warnings)
		},
	}
	config.GivenFlags(cmd.Flags())
	cmd.Flags().StringVar(&socket, "socket", engine.DefaultSocket, "the `PATH` of the engine's unix socket")
	return cmd
}

// containers are those of an engine, as the services of a run.
type containers struct {
	flags  *pflag.FlagSet
	engine *engine.Engine
	inside bool // the remote runs in a container itself

	mu      sync.Mutex
	list    []engine.Container   // as the engine has told last
	refused map[name]string      // names that have ended for good, with the container's id
	of      map[name]string      // the ids of those that are published
	wrong   map[string]*mistaken // by container
}

// A mistaken container is why it is not published.
type mistaken struct {
	container string
	err       error
}

func newContainers(flags *pflag.FlagSet, socket string) *containers {
	c := &containers{flags: flags, engine: engine.New(socket), refused: make(map[name]string)}
	for _, file := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(file); err == nil {
			c.inside = true
		}
	}
	return c
}

// load is the configuration with the containers that run. What is wrong with one of them
// is kept for tell, and is no error.
func (c *containers) load() (*config.Remote, []config.Warning, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong, c.of = make(map[string]*mistaken), make(map[name]string)
	var services []config.Given
	var of []engine.Container      // of each service
	first := make(map[name]string) // which container has each name
	for _, one := range c.list {
		g, ok, err := c.given(one)
		if ok && err == nil {
			err = c.check(g)
		}
		if ok && err == nil {
			err = c.claim(one, &g, first)
		}
		switch {
		case err != nil:
			c.wrong[one.ID] = &mistaken{one.Name(), err}
		case ok && len(g.Domains)+len(g.Words) > 0:
			services, of = append(services, g), append(of, one)
		}
	}
	for { // each may be right alone, and wrong beside the others
		cfg, warnings, err := config.LoadGiven(c.flags, services)
		var all config.Errors
		_ = errors.As(err, &all)
		i := len(services) - 1 // the newest one goes first
		for i >= 0 && mistakesOf(all, i) == nil {
			i--
		}
		if i < 0 {
			return cfg, warnings, err
		}
		c.wrong[of[i].ID] = &mistaken{of[i].Name(), mistakesOf(all, i)}
		services, of = slices.Delete(services, i, i+1), slices.Delete(of, i, i+1)
	}
}

// check looks at one service alone.
func (c *containers) check(g config.Given) error {
	_, _, err := config.LoadGiven(c.flags, []config.Given{g})
	var all config.Errors
	if !errors.As(err, &all) {
		return err
	}
	return mistakesOf(all, 0) // the others are told by load
}

// mistakesOf are those of the service at i.
func mistakesOf(all config.Errors, i int) error {
	var own []error
	for _, e := range all {
		if strings.HasPrefix(e.Key, fmt.Sprintf("services[%d]", i)) {
			own = append(own, mistake{e.Message, e.Hints})
		}
	}
	return errors.Join(own...)
}

// claim gives a container its names. Those of another container are an error, and those
// that have ended for good are left out.
func (c *containers) claim(one engine.Container, g *config.Given, first map[name]string) error {
	names := make(map[*string]name)
	for i := range g.Domains {
		names[&g.Domains[i]] = name{domain: strings.ToLower(g.Domains[i])}
	}
	for i := range g.Words {
		names[&g.Words[i]] = name{word: g.Words[i]}
	}
	for _, n := range names {
		if other, there := first[n]; there {
			return hint.ContainerTwice.Error(fmt.Errorf("%s is the name of the container %s too", n.shown(), other))
		}
	}
	for _, n := range names {
		first[n], c.of[n] = one.Name(), one.ID
	}
	gone := func(n name) bool { return c.refused[n] == one.ID }
	g.Domains = slices.DeleteFunc(g.Domains, func(d string) bool { return gone(name{domain: strings.ToLower(d)}) })
	g.Words = slices.DeleteFunc(g.Words, func(w string) bool { return gone(name{word: w}) })
	return nil
}

// drop notes a name that has ended for good: it is claimed again when its container has
// stopped and started, else the two runs of which one has replaced the other would fight.
func (c *containers) drop(n name) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.of[n]; ok {
		c.refused[n] = id
	}
}

// follow makes the containers that run what p publishes, until ctx ends.
func (c *containers) follow(ctx context.Context, p *process) {
	told := make(map[string]string) // what is said of each container that is wrong
	c.engine.Follow(ctx, func(list []engine.Container) {
		if !c.take(list) {
			return
		}
		p.reload()
		c.tell(p, told)
	}, func(err error) {
		p.log.Warn("the container engine does not answer; it is asked again", "err", err, hint.Attr(hint.EngineAway.Do))
	})
}

// take keeps a list, the oldest container first. It reports whether it differs.
func (c *containers) take(list []engine.Container) bool {
	slices.SortStableFunc(list, func(a, b engine.Container) int {
		if a.Created != b.Created {
			return int(min(1, max(-1, a.Created-b.Created)))
		}
		return strings.Compare(a.ID, b.ID)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.refused, func(_ name, id string) bool {
		return !slices.ContainsFunc(list, func(one engine.Container) bool { return one.ID == id })
	})
	same := reflect.DeepEqual(c.list, list) && c.wrong != nil
	c.list = list
	return !same
}

// tell logs which containers are not published and why, each once.
func (c *containers) tell(p *process, told map[string]string) {
	c.mu.Lock()
	wrong := maps.Clone(c.wrong)
	c.mu.Unlock()
	for id, w := range wrong {
		if told[id] == w.err.Error() {
			continue
		}
		told[id] = w.err.Error()
		hints := hint.All(w.err)
		if len(hints) == 0 {
			hints = hint.ContainerWrong.Do
		}
		p.log.Warn("a container is not published", "container", w.container, "err", w.err, hint.Attr(hints))
	}
	maps.DeleteFunc(told, func(id, _ string) bool { return wrong[id] == nil })
}
