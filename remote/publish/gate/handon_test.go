package gate_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"keystay/remote/publish/gate"
)

// What a gate tells the service of the user is not the visitor's to take away, as by
// naming the field in Connection (RFC 9110, section 7.6.1).
func TestVisitorsDoNotTakeAwayWhatTheServiceIsTold(t *testing.T) {
	ca, at := serveSite(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), Header: true})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: name}}
	defer transport.CloseIdleConnections()
	for _, named := range []string{"X-Forwarded-User", "close, x-forwarded-user", "x-forwarded-email, X-FORWARDED-USER", "keep-alive,X-Forwarded-User, X-Forwarded-For"} {
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+at+"/", nil)
		r.Host = name
		r.SetBasicAuth("ada", "wind")
		r.Header.Set("Connection", named)
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprint(resp.StatusCode, " ", string(b)); !strings.HasPrefix(got, `200 / user ["ada"]`) {
			t.Errorf("Connection: %s: %s", named, got)
		}
	}
}

// What Connection names beside what is about the connection itself, such as the Upgrade
// of a WebSocket, does not get to the service.
func TestConnectionIsLeftWithWhatIsAboutIt(t *testing.T) {
	x := newRig(t, nil, gate.Rule{Passwords: users(t, "ada:wind"), Header: true})
	for named, want := range map[string]string{"Upgrade": "Upgrade", "keep-alive, Upgrade, X-Forwarded-User": "keep-alive, Upgrade", "close": "close", "X-Forwarded-User,,X-Own": "", "TE, x-own": "TE"} {
		x.want(named, x.get("/", basic("ada", "wind"), header("Connection", named, "X-Own", "1")), http.StatusOK)
		r, _ := x.last()
		if got := r.Header.Get("Connection"); got != want || r.Header.Get("X-Forwarded-User") != "ada" {
			t.Errorf("Connection: %s is %q, with the user %q", named, got, r.Header.Get("X-Forwarded-User"))
		}
	}
}
