package relay_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"keystay/framing"
)

const accessDenied = "\x15\x03\x03\x00\x02\x02\x31"

// claimFor makes a device claim a name for some visitors.
func (d *device) claimFor(t *testing.T, name string, allow, deny string, replica bool) {
	t.Helper()
	c := framing.Claim{Name: name, Replica: replica}
	for list, of := range map[*[]netip.Prefix]string{&c.Allow: allow, &c.Deny: deny} {
		for _, s := range strings.Fields(of) {
			*list = append(*list, netip.MustParsePrefix(s))
		}
	}
	if err := d.Claim(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// metric is what the admin address shows of a metric.
func (r *rig) metric(name string) string {
	r.t.Helper()
	ln := listenTCP(r.t)
	go r.srv.ServeAdmin(ln, nil)
	req, err := http.NewRequest("GET", "http://"+ln.Addr().String()+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	_, body := r.do(&http.Transport{DisableKeepAlives: true}, req)
	_, value, _ := strings.Cut(body, "\n"+name+" ")
	value, _, _ = strings.Cut(value, "\n")
	return value
}

// A visitor that the rules of a name refuse gets the alert access_denied, and the
// device nothing of it, whenever the rules change. A name without rules is for all.
func TestVisitorsThatRulesRefuseReachNoDevice(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t), "b.relay.test").echo("d")
	d.claimFor(t, "a.relay.test", "127.0.0.0/8 ::1/128", "", false)
	r.reaches("a.relay.test", "d")
	for _, refuses := range []struct{ allow, deny string }{
		{"", "127.0.0.0/8 ::1/128"},
		{"203.0.113.0/24", ""},
		{"127.0.0.0/8 ::1/128", "127.0.0.1/32 ::1/128"},
	} {
		d.claimFor(t, "a.relay.test", refuses.allow, refuses.deny, false)
		r.refused("a.relay.test", accessDenied)
		r.reaches("b.relay.test", "d")
	}
	if n := d.NumStreams(); n > 4 { // those of visitors that got through, which end at once
		t.Errorf("%d streams", n)
	}
	d.claimFor(t, "a.relay.test", "", "", false)
	r.reaches("a.relay.test", "d")
	if got := r.metric("keystay_refused_by_rule_total"); got != "3" {
		t.Errorf("%s visitors were counted, want 3", got)
	}
}

// Rules go with the name, not with the run: of several links, and of replicas, the
// newest claim's count, and a run that replaces another brings its own.
func TestNewestClaimsRulesCount(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	first := r.device(id).echo("first")
	first.claimFor(t, "a.relay.test", "", "0.0.0.0/0 ::/0", true)
	r.refused("a.relay.test", accessDenied)
	second := r.device(id.at(1, 2)).echo("second")
	second.claimFor(t, "a.relay.test", "", "", true)
	if answer, err := r.visit("a.relay.test", "x"); err != nil || len(answer) < 100 {
		t.Errorf("got %.40q, %v", answer, err)
	}
	first.claimFor(t, "a.relay.test", "192.0.2.0/24", "", true)
	r.refused("a.relay.test", accessDenied)
	third := r.device(id.at(2, 3)).echo("third")
	third.claimFor(t, "a.relay.test", "", "", false)
	r.reaches("a.relay.test", "third")
}

// A CA's validation passes whatever the rules are, but nothing that only looks
// like one: acme-tls/1 is the one protocol that a CA offers.
func TestValidationsPassRules(t *testing.T) {
	r := newRig(t, nil)
	d := r.device(newIdentity(t))
	d.claimFor(t, "a.relay.test", "", "0.0.0.0/0 ::/0", false)
	get, _ := r.plain()
	go func() {
		for {
			s, err := d.Accept()
			if err != nil {
				return
			}
			go func() {
				defer s.Close()
				if s.Header().Kind == framing.KindHTTP01 {
					http.ReadRequest(bufio.NewReader(s))
					io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nkey")
				} else {
					s.Write([]byte("tls"))
				}
				s.CloseWrite()
				io.Copy(io.Discard, s)
			}()
		}
	}()
	hello := func(protos ...string) string {
		c := &captured{}
		tls.Client(c, &tls.Config{ServerName: "a.relay.test", NextProtos: protos}).Handshake()
		v := r.dial()
		defer v.Close()
		v.Write(c.first)
		b, _ := io.ReadAll(v)
		return string(b)
	}
	if got := hello("acme-tls/1"); got != "tls" {
		t.Errorf("a validation got %q", got)
	}
	for _, protos := range [][]string{{"acme-tls/1", "h2"}, {"h2", "acme-tls/1"}, {"h2"}, nil} {
		if got := hello(protos...); got != accessDenied {
			t.Errorf("a visitor that offers %q got %q", protos, got)
		}
	}
	if resp, body := get("a.relay.test", "/.well-known/acme-challenge/x"); resp.StatusCode != 200 || body != "key" {
		t.Errorf("HTTP-01: %s %q", resp.Status, body)
	}
	if resp, _ := get("a.relay.test", "/"); resp.StatusCode != 403 || resp.Header.Get("Location") != "" {
		t.Errorf("a browser on port 80: %s", resp.Status)
	}
	if got := r.metric("keystay_refused_by_rule_total"); got != "5" {
		t.Errorf("%s visitors were counted, want 5", got)
	}
	d.claimFor(t, "a.relay.test", "", "", false)
	if resp, _ := get("a.relay.test", "/"); resp.StatusCode != 308 {
		t.Errorf("a browser on port 80 without rules: %s", resp.Status)
	}
}

// A name that is given back leads nowhere at once. The device's other links and
// runs are told for good; the link that gave it back has its answer.
func TestReleasedNameIsLostToTheOtherRuns(t *testing.T) {
	r := newRig(t, nil)
	id := newIdentity(t)
	serving := r.device(id, "a.relay.test", "b.relay.test").echo("d")
	r.reaches("a.relay.test", "d")
	giving := r.device(id.at(2, 2))
	if err := giving.Release(t.Context(), "a.relay.test"); err != nil {
		t.Fatal(err)
	}
	d := <-serving.lost
	if d.Name != "a.relay.test" || d.Code != framing.DeniedReleased || !d.Permanent() {
		t.Errorf("lost %+v", d)
	}
	r.reaches("b.relay.test", "d")
	if err := serving.Release(t.Context(), "b.relay.test"); err != nil {
		t.Fatal(err)
	}
	r.refused("b.relay.test", unrecognizedName)
	var not *framing.NotReleased
	for _, name := range []string{"a.relay.test", "never.relay.test", id.label(), "example.com"} {
		if err := giving.Release(t.Context(), name); !errors.As(err, &not) || not.Later {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(serving.lost)+len(giving.lost) > 0 {
		t.Error("a link was told of what it gave back itself")
	}
}
