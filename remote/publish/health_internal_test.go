package publish

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A patient is a service with health checks.
type patient struct {
	site *Site
	log  bytes.Buffer
}

func newPatient(target *Target, h Health, request HeaderChanges) *patient {
	p := new(patient)
	target.Logger = slog.New(slog.NewTextHandler(&p.log, nil))
	p.site = NewSite("xyz.relay.test", SiteConfig{Routes: []Route{{Path: "/", Target: target, Health: h, Request: request}, {Path: "/text", Handler: Text("fine")}}})
	return p
}

func (p *patient) health() *health { return p.site.table.Load().routes[1].health }

// check does one check.
func (p *patient) check(ctx context.Context) { p.health().took(ctx, p.health().ask(ctx)) }

// visit is an answer to a visitor.
func (p *patient) visit(path, accept string) *http.Response {
	r := httptest.NewRequest("GET", "https://xyz.relay.test"+path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	p.site.ServeHTTP(w, r)
	return w.Result()
}

// A service is down after so many failed checks in a row, and up with the next that
// succeeds. While it is down visitors get a page, and programs a plain 503, both with
// Retry-After; other routes are as ever.
func TestServiceIsDownAfterFailuresInARow(t *testing.T) {
	var status atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(int(status.Load()))
		}
	}))
	defer service.Close()
	u, _ := url.Parse(service.URL)
	p := newPatient(&Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}, Health{Path: "/healthz", Every: 7 * time.Second, Failures: 2}, HeaderChanges{})
	down := func(why string, want bool) {
		t.Helper()
		person, program := p.visit("/", "text/html,*/*;q=0.8"), p.visit("/", "*/*")
		for _, resp := range []*http.Response{person, program} {
			if got := resp.StatusCode == http.StatusServiceUnavailable; got != want || want && resp.Header.Get("Retry-After") != "7" {
				t.Errorf("%s: %s %v", why, resp.Status, resp.Header)
			}
		}
		if want && (!strings.HasPrefix(person.Header.Get("Content-Type"), "text/html") || !strings.HasPrefix(program.Header.Get("Content-Type"), "text/plain")) {
			t.Errorf("%s: a person gets %v, a program %v", why, person.Header, program.Header)
		}
		if resp := p.visit("/text", "*/*"); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: another route answers with %s", why, resp.Status)
		}
	}
	down("before the first check", false)
	for i, step := range []struct {
		status int32
		down   bool
	}{{200, false}, {500, false}, {204, false}, {404, false}, {503, true}, {500, true}, {399, false}, {400, false}, {302, false}, {401, false}, {403, true}} {
		status.Store(step.status)
		p.check(t.Context())
		down(fmt.Sprint("after check ", i, ", ", step.status), step.down)
	}
	if said := strings.Count(p.log.String(), "fails its health check"); said != 2 {
		t.Errorf("the log says %d times that it is down, not twice:\n%s", said, &p.log)
	}
	if !strings.Contains(p.log.String(), `err="it answers with 503"`) || strings.Count(p.log.String(), "passes its health check again") != 1 {
		t.Errorf("the log:\n%s", &p.log)
	}

	c := SiteConfig{Routes: []Route{p.site.table.Load().routes[1].Route}}
	p.site.Set(c)
	if !p.site.table.Load().routes[0].health.down.Load() {
		t.Error("a change of other routes forgets that it is down")
	}
	c.Routes[0].Health.Path = "/other"
	p.site.Set(c)
	if p.site.table.Load().routes[0].health.down.Load() {
		t.Error("what another check has said still counts")
	}
}

// A check asks for the path as a visitor's request would, with what the route sets.
func TestHealthCheckAsksAsAVisitorWould(t *testing.T) {
	got := make(chan string, 1)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprintln(r.Method, r.RequestURI, r.ProtoMajor, r.Host, r.Header.Get("User-Agent"), r.Header.Get("Authorization"), r.Header.Get("X-Forwarded-Proto"))
	})
	plain, secure := httptest.NewServer(h), httptest.NewUnstartedServer(h)
	defer plain.Close()
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	only2 := httptest.NewUnstartedServer(h)
	only2.Config.Protocols = new(http.Protocols)
	only2.Config.Protocols.SetUnencryptedHTTP2(true)
	only2.Start()
	defer only2.Close()
	for server, version := range map[*httptest.Server]int{plain: 1, secure: 2, only2: 2} {
		u, _ := url.Parse(server.URL)
		target := &Target{URL: u, Network: "tcp", Addresses: []string{u.Host}, Insecure: true, H2C: server == only2, HostHeader: "inside.test"}
		p := newPatient(target, Health{Path: "/healthz?a=b"}, HeaderChanges{Set: http.Header{"Authorization": {"Bearer x"}}})
		p.check(t.Context())
		if saw, want := <-got, fmt.Sprintln("GET", "/healthz?a=b", version, "inside.test", "keystay", "Bearer x", "https"); saw != want {
			t.Errorf("the service sees %q, want %q", saw, want)
		}
		if p.log.Len() > 0 {
			t.Errorf("the log:\n%s", &p.log)
		}
	}
}

// A service that cannot be reached, or does not answer, fails the check.
func TestHealthCheckOfASilentService(t *testing.T) {
	release := make(chan struct{})
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer service.Close()
	defer close(release)
	u, _ := url.Parse(service.URL)
	p := newPatient(&Target{URL: u, Network: "tcp", Addresses: []string{u.Host}}, Health{Path: "/", Timeout: time.Millisecond, Failures: 1}, HeaderChanges{})
	p.check(t.Context())
	if !p.health().down.Load() || !strings.Contains(p.log.String(), `err="no answer after 1ms"`) {
		t.Errorf("the log:\n%s", &p.log)
	}
}

// Watch checks at once and then every so often, and is the one that says that the
// service cannot be reached.
func TestWatchChecksTheHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPatient(&Target{URL: &url.URL{Scheme: "http", Host: "localhost"}, Network: "unix", Addresses: []string{t.TempDir() + "/none"}}, Health{Path: "/"}, HeaderChanges{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.site.Watch(ctx); close(done) }()
		<-time.After(2*healthEvery - time.Second)
		synctest.Wait()
		if p.health().down.Load() {
			t.Error("it is down after two checks")
		}
		<-time.After(2 * time.Second)
		synctest.Wait()
		if !p.health().down.Load() {
			t.Error("it is not down after three checks")
		}
		cancel()
		<-done
		if n := strings.Count(p.log.String(), "the local service does not answer"); n != 1 {
			t.Errorf("the log says %d times that it does not answer:\n%s", n, &p.log)
		}
	})
}
