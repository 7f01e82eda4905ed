package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"keystay/e2e/internal/world"
	"keystay/internal/testca"
)

// A manifest is what the tests look at of one of Kubernetes. deploy/charts/trial looks
// at all of it by the types of its API.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string // of a ConfigMap
	Spec     struct {
		Replicas                 int
		Strategy                 struct{ Type string }
		PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
		ExternalTrafficPolicy    string `yaml:"externalTrafficPolicy"`
		Ports                    []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		Template struct{ Spec pod }
	}
}

type pod struct {
	Grace           int         `yaml:"terminationGracePeriodSeconds"`
	SecurityContext security    `yaml:"securityContext"`
	InitContainers  []container `yaml:"initContainers"`
	Containers      []container
	Volumes         []struct {
		Name      string
		ConfigMap *struct{ Name string } `yaml:"configMap"`
		Claim     *struct {
			Name string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
}

type security struct {
	RunAsNonRoot   bool  `yaml:"runAsNonRoot"`
	ReadOnlyRoot   bool  `yaml:"readOnlyRootFilesystem"`
	MayEscalate    *bool `yaml:"allowPrivilegeEscalation"`
	Capabilities   struct{ Drop, Add []string }
	SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
}

type container struct {
	Name  string
	Args  []string
	Env   []struct{ Name, Value string }
	Ports []struct {
		Name string
		Port int `yaml:"containerPort"`
	}
	SecurityContext security `yaml:"securityContext"`
	Startup         probe    `yaml:"startupProbe"`
	Liveness        probe    `yaml:"livenessProbe"`
	Readiness       probe    `yaml:"readinessProbe"`
	VolumeMounts    []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
}

// manifests reads a file of deploy/kubernetes.
func manifests(t *testing.T, file string) map[string]manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../deploy/kubernetes", file))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]manifest)
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var m manifest
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[m.Kind] = m
	}
}

// ours is the container with our program.
func (p pod) ours(t *testing.T, name string) container {
	t.Helper()
	all := slices.Concat(p.InitContainers, p.Containers)
	i := slices.IndexFunc(all, func(c container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no container %s", name)
	}
	return all[i]
}

// configured writes the file of the ConfigMap that --config names, and returns it and the
// variables of the container; the state directory, which has to be in the claim, is in dir.
func (c container) configured(t *testing.T, dir string, all map[string]manifest) (file string, env []string) {
	t.Helper()
	if len(c.Args) != 2 || c.Args[0] != "--config" {
		t.Fatalf("args %q", c.Args)
	}
	p := all["Deployment"].Spec.Template.Spec
	mounted := func(path string) (volume string) {
		for _, m := range c.VolumeMounts {
			if strings.HasPrefix(path, m.Path+"/") {
				volume = m.Name
			}
		}
		return volume
	}
	state := ""
	for _, e := range c.Env {
		if strings.HasSuffix(e.Name, "_STATE_DIR") {
			state, e.Value = e.Value, filepath.Join(dir, "state")
		}
		env = append(env, e.Name+"="+e.Value)
	}
	for _, v := range p.Volumes {
		if v.Name == mounted(c.Args[1]) && v.ConfigMap != nil && v.ConfigMap.Name == all["ConfigMap"].Metadata.Name {
			file = filepath.Join(dir, filepath.Base(c.Args[1]))
		}
		if v.Name == mounted(state) && v.Claim != nil && v.Claim.Name == all["PersistentVolumeClaim"].Metadata.Name {
			state = ""
		}
	}
	text, ok := all["ConfigMap"].Data[filepath.Base(c.Args[1])]
	if file == "" || !ok || state != "" {
		t.Fatalf("--config leads to %q, and the state directory %q to no claim", file, state)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, env
}

// The relay of the manifest is one, not root, and starts with its file and variables; its
// probes are answered; and the Service leads to its ports, also before it is ready.
func TestRelayOfTheKubernetesManifestServesAndAnswersItsProbes(t *testing.T) {
	t.Parallel()
	all := manifests(t, "relay.yaml")
	deployed := all["Deployment"].Spec
	if deployed.Replicas != 1 || deployed.Strategy.Type != "Recreate" {
		t.Errorf("%d replicas, %s: two relays would have one record", deployed.Replicas, deployed.Strategy.Type)
	}
	p := deployed.Template.Spec
	c := p.ours(t, "relay")
	if p.Grace <= 30 {
		t.Errorf("%d s are not enough to drain", p.Grace)
	}
	confined(t, p, c)
	ports := make(map[string]int)
	for _, q := range c.Ports {
		ports[q.Name] = q.Port
	}
	service := all["Service"].Spec
	if !service.PublishNotReadyAddresses || service.ExternalTrafficPolicy != "Local" {
		t.Error("the CA does not get there before it is ready, or the visitor's address is lost")
	}
	for _, q := range service.Ports {
		if ports[q.TargetPort] != q.Port { // the relay tells remotes the port that it listens on
			t.Errorf("port %d leads to %s, %d", q.Port, q.TargetPort, ports[q.TargetPort])
		}
	}

	dir := t.TempDir()
	config, env := c.configured(t, dir, all)
	cert, key := testca.New(t).Files(dir, "relay.net")
	relay := world.Start(t, append(env, "HOME="+dir, "KEYSTAY_RELAY_LISTEN=127.0.0.1:0", "KEYSTAY_RELAY_HTTP_LISTEN=",
		"KEYSTAY_RELAY_ADMIN_LISTEN=127.0.0.1:0", "KEYSTAY_RELAY_TLS_CERT_FILE="+cert, "KEYSTAY_RELAY_TLS_KEY_FILE="+key), "relay", "--config", config)
	admin := relay.Find(`for=admin addr=(\S+)`)
	relay.Find(`for=public addr=(\S+)`)
	client := &http.Client{Timeout: world.Patience}
	defer client.CloseIdleConnections()
	for what, probe := range map[string]probe{"startup": c.Startup, "liveness": c.Liveness, "readiness": c.Readiness} {
		if probe.HTTPGet.Port != "admin" || ports["admin"] != 9440 || !strings.Contains(all["ConfigMap"].Data["relay.yaml"], "listen: :9440") {
			t.Errorf("%s asks %+v, not the admin address", what, probe)
		}
		world.Eventually(t, world.Patience, what, func() bool {
			res, err := client.Get("http://" + admin + probe.HTTPGet.Path)
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	relay.Stop()
}

// confined looks whether a container may do as little as it can.
func confined(t *testing.T, p pod, c container) {
	t.Helper()
	s := c.SecurityContext
	if !s.ReadOnlyRoot || s.MayEscalate == nil || *s.MayEscalate || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || s.Capabilities.Add != nil ||
		!(s.RunAsNonRoot || p.SecurityContext.RunAsNonRoot) || s.SeccompProfile.Type+p.SecurityContext.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("%s may do more than it has to: %+v", c.Name, s)
	}
}

// The remotes of the manifests are one each, not root, and their files are what a remote
// takes.
func TestRemotesOfTheKubernetesManifestsHaveAGoodConfiguration(t *testing.T) {
	t.Parallel()
	bin, err := world.Programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"remote.yaml", "sidecar.yaml"} {
		all := manifests(t, file)
		deployed := all["Deployment"].Spec
		if deployed.Replicas != 1 || deployed.Strategy.Type != "Recreate" {
			t.Errorf("%s: %d replicas, %s: two runs of an identity would take names from each other", file, deployed.Replicas, deployed.Strategy.Type)
		}
		p := deployed.Template.Spec
		c := p.ours(t, "remote")
		confined(t, p, c)
		dir := t.TempDir()
		config, env := c.configured(t, dir, all)
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		token := filepath.Join(dir, "token")
		if err := errors.Join(os.WriteFile(token, []byte("keystay-a-token-of-the-test\n"), 0o600),
			os.WriteFile(config, bytes.ReplaceAll(text, []byte("/etc/keystay-secrets/token"), []byte(token)), 0o600)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := timeout(world.Patience)
		defer cancel()
		check := exec.CommandContext(ctx, filepath.Join(bin, "remote"), "check", "--config", config)
		check.Env = append(env, "HOME="+dir)
		check.WaitDelay = time.Second
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
