package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"keystay/config"
	"keystay/internal/engine"
	"keystay/internal/hint"
)

// aContainer is one on the network bridge that exposes port 80.
func aContainer(id string, created int64, labels ...string) engine.Container {
	c := engine.Container{ID: id, Names: []string{"/" + id}, Labels: map[string]string{"maintainer": "me"}, State: "running", Created: created,
		Ports: []engine.Port{{PrivatePort: 80, Type: "tcp"}}}
	c.NetworkSettings.Networks = map[string]engine.Network{"bridge": {IPAddress: "172.17.0.2"}}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		c.Labels["keystay."+key] = value
	}
	return c
}

// following are containers that the engine has told of.
func following(t *testing.T, list ...engine.Container) *containers {
	t.Helper()
	for _, name := range []string{"KEYSTAY_REMOTE_CONFIG", "KEYSTAY_REMOTE_DOMAIN"} {
		t.Setenv(name, "")
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.GivenFlags(fs)
	_ = fs.Set("relay", "relay.test")
	_ = fs.Set("state-dir", t.TempDir())
	c := newContainers(fs, "/nowhere")
	c.inside = false
	c.take(list)
	return c
}

// published is what is published of the containers, a line for each.
func (c *containers) published(t *testing.T) (lines []string) {
	t.Helper()
	cfg, _, err := c.load()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range cfg.Services {
		for _, n := range namesOf(s) {
			lines = append(lines, n.shown()+" -> "+shownLocal(s))
		}
	}
	return lines
}

// Two containers that are right alone and wrong together cost the newer one its name, and
// nobody else anything.
func TestOneContainerDoesNotKeepTheOthersFromBeingPublished(t *testing.T) {
	for label, wrong := range map[string]string{"domain=A.relay.test.": "twice", "domain=xn--bcher-kva.relay.test": "twice"} {
		c := following(t, aContainer("a", 1, "domain=a.relay.test,bücher.relay.test"), aContainer("b", 2, label), aContainer("c", 3, "domain=c.relay.test"))
		if got := c.published(t); len(got) != 3 || !strings.HasPrefix(got[2], "c.relay.test") {
			t.Errorf("%s: %q", label, got)
		}
		if w := c.wrong["b"]; w == nil || !strings.Contains(w.err.Error(), wrong) {
			t.Errorf("%s: %+v", label, w)
		}
	}
	c := following(t, aContainer("a", 1, "port=80"), aContainer("b", 2, "name=b"), aContainer("c", 3, "domain=c.relay.test"))
	_ = c.flags.Set("relay", "")
	if got := c.published(t); len(got) == 0 {
		t.Errorf("%q, %+v", got, c.wrong)
	}
}

// Labels say under which names a container is published, and how it is reached.
func TestLabelsOfAContainer(t *testing.T) {
	open := aContainer("a", 1, "domain=a.relay.test")
	open.Ports = []engine.Port{{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {IP: "::", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}, {PrivatePort: 53, Type: "udp"}}
	bound := aContainer("a", 1, "domain=a.relay.test", "port=443", "scheme=https+insecure")
	bound.Ports = []engine.Port{{IP: "192.0.2.1", PrivatePort: 443, PublicPort: 8443, Type: "tcp"}}
	host := aContainer("a", 1, "name=notes", "port=3000")
	host.HostConfig.NetworkMode = "host"
	six := aContainer("a", 1, "domain=a.relay.test", "scheme=h2c")
	six.NetworkSettings.Networks = map[string]engine.Network{"six": {GlobalIPv6Address: "2001:db8::2"}}
	two := aContainer("a", 1, "domain=a.relay.test", "network=web")
	two.NetworkSettings.Networks = map[string]engine.Network{"db": {IPAddress: "10.0.0.2"}, "web": {IPAddress: "10.1.0.2"}}
	none := aContainer("a", 1, "domain=a.relay.test")
	none.NetworkSettings.Networks = nil
	for _, tt := range []struct {
		container engine.Container
		want      string // or a part of the mistake
	}{
		{aContainer("a", 1), ""},
		{aContainer("a", 1, "domain=A.relay.test, b.relay.test"), "a.relay.test -> http://172.17.0.2, b.relay.test -> http://172.17.0.2"},
		{aContainer("a", 1, "port=3000"), "the name made from the key -> http://172.17.0.2:3000"},
		{aContainer("a", 1, "name=notes", "domain=a.relay.test"), "a.relay.test -> http://172.17.0.2, the name made from the key and notes -> http://172.17.0.2"},
		{aContainer("a", 1, "domain=db.relay.test", "scheme=tcp", "port=5432"), "db.relay.test -> tcp://172.17.0.2:5432"},
		{open, "a.relay.test -> http://127.0.0.1:8080"},
		{bound, "a.relay.test -> https+insecure://192.0.2.1:8443"},
		{host, "the name made from the key and notes -> http://127.0.0.1:3000"},
		{six, "a.relay.test -> h2c://[2001:db8::2]"},
		{two, "a.relay.test -> http://10.1.0.2"},

		{aContainer("a", 1, "domian=a.relay.test"), "keystay.domian is no label that is known: did you mean keystay.domain?"},
		{aContainer("a", 1, "domain=not a name"), `"not a name"`},
		{aContainer("a", 1, "name=two.words"), "a whole name goes with"},
		{aContainer("a", 1, "port=http"), `keystay.port: "http" is no port`},
		{aContainer("a", 1, "port=0"), `keystay.port: "0" is no port`},
		{aContainer("a", 1, "scheme=ftp"), `keystay.scheme: "ftp" is none of`},
		{aContainer("a", 1, "network=web"), `keystay.network: it is not in "web", but in bridge`},
		{none, "it has no address"},
		{func() engine.Container { c := aContainer("a", 1, "domain=a.relay.test"); c.Ports = nil; return c }(), "keystay.port is missing: it exposes 0 ports"},
	} {
		c := following(t, tt.container)
		got := strings.Join(c.published(t), ", ")
		if w := c.wrong["a"]; w != nil {
			got = w.err.Error() + " " + strings.Join(hint.All(w.err), " ")
			if w.container != "a" || len(hint.All(w.err)) == 0 && !strings.HasPrefix(tt.want, `"`) {
				t.Errorf("%q: %+v", tt.container.Labels, w)
			}
		}
		if got != tt.want && (tt.want == "" || !strings.Contains(got, tt.want)) {
			t.Errorf("%v: %s, want %s", tt.container.Labels, got, tt.want)
		}
	}
}

// Within a container the remote dials a container itself, since the machine's ports are
// elsewhere.
func TestWithinAContainerAddressesAreDialled(t *testing.T) {
	one := aContainer("a", 1, "domain=a.relay.test")
	one.Ports[0].IP, one.Ports[0].PublicPort = "0.0.0.0", 8080
	c := following(t, one)
	c.inside = true
	if got := c.published(t); !slices.Equal(got, []string{"a.relay.test -> http://172.17.0.2"}) {
		t.Error(got)
	}
}

// Of two containers with one name the older one has it, and the other is told whose it is;
// a mistake in one is no other's.
func TestOneNameIsOneContainers(t *testing.T) {
	c := following(t, aContainer("young", 2, "domain=A.relay.test"), aContainer("old", 1, "domain=a.relay.test"), aContainer("wrong", 1, "scheme=ftp"), aContainer("other", 3, "domain=b.relay.test"))
	if got := c.published(t); !slices.Equal(got, []string{"a.relay.test -> http://172.17.0.2", "b.relay.test -> http://172.17.0.2"}) {
		t.Error(got)
	}
	if w := c.wrong["young"]; w == nil || w.err.Error() != "a.relay.test is the name of the container old too" || !slices.Equal(hint.All(w.err), hint.ContainerTwice.Do) {
		t.Errorf("%+v", w)
	}
	if c.wrong["wrong"] == nil || len(c.wrong) != 2 {
		t.Errorf("%+v", c.wrong)
	}
	c.take([]engine.Container{aContainer("young", 2, "domain=a.relay.test")})
	if got := c.published(t); !slices.Equal(got, []string{"a.relay.test -> http://172.17.0.2"}) || len(c.wrong) > 0 {
		t.Error(got, c.wrong)
	}
}

// A name that has ended for good is not claimed again before its container has stopped.
func TestRefusedNameWaitsForItsContainer(t *testing.T) {
	one := aContainer("a", 1, "domain=a.relay.test,b.relay.test")
	c := following(t, one)
	c.published(t)
	c.drop(name{domain: "a.relay.test"})
	for range 2 {
		if got := c.published(t); !slices.Equal(got, []string{"b.relay.test -> http://172.17.0.2"}) {
			t.Error(got)
		}
	}
	c.take(nil)
	if got := c.published(t); len(got) > 0 {
		t.Error(got)
	}
	c.take([]engine.Container{one})
	if got := c.published(t); len(got) != 2 {
		t.Error(got)
	}
	(*containers)(nil).drop(name{})
}

// A list that says the same again changes nothing.
func TestSameContainersChangeNothing(t *testing.T) {
	one := aContainer("a", 1, "domain=a.relay.test")
	c := following(t, one)
	c.published(t)
	if c.take([]engine.Container{one}) || !c.take([]engine.Container{one, aContainer("b", 2)}) {
		t.Error("what has changed is mistaken")
	}
}

// What flags and variables say of one service, and a file with services, is refused beside
// containers.
func TestContainersAloneSayWhatIsPublished(t *testing.T) {
	c := following(t, aContainer("a", 1, "domain=a.relay.test"))
	t.Setenv("KEYSTAY_REMOTE_DOMAIN", "x.relay.test")
	_, _, err := c.load()
	var all config.Errors
	if !errors.As(err, &all) || !strings.Contains(err.Error(), "KEYSTAY_REMOTE_DOMAIN: this is said by each container") {
		t.Error(err)
	}
	if c.flags.Lookup("domain") != nil || c.flags.Lookup("local") != nil || c.flags.Lookup("auth") == nil {
		t.Error("the flags are other ones")
	}
}
