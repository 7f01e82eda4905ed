package ct

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"keystay/internal/plain"
	"keystay/internal/testca"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A question in the form of Cert Spotter's API v1, over TLS.
func TestAQuestionHasTheFormOfTheAPI(t *testing.T) {
	ca := testca.New(t)
	leaf := ca.Issue(domain).Leaf
	var asked url.Values
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query()
		_, _ = w.Write([]byte(`[{"id":"12","tbs_sha256":"ab","dns_names":["` + domain + `"],"cert_der":"` + base64Of(leaf.Raw) + `"}]`))
	}))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Issue("127.0.0.1")}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	w := New(Config{URL: srv.URL + "/v1/issuances?token=a", Roots: ca.Pool(), Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }})
	list, _, err := w.question(t.Context(), domain, "11")
	if err != nil || len(list) != 1 || list[0].ID != "12" || string(list[0].DER) != string(leaf.Raw) {
		t.Fatalf("%v, %v", list, err)
	}
	want := url.Values{"domain": {domain}, "include_subdomains": {"false"}, "match_wildcards": {"true"},
		"expand": {"dns_names", "cert_der"}, "after": {"11"}, "token": {"a"}}
	if asked.Encode() != want.Encode() {
		t.Errorf("asked %v", asked)
	}
	if _, _, err := New(Config{URL: srv.URL}).question(t.Context(), domain, ""); err == nil {
		t.Error("a monitor that nobody vouches for is believed")
	}
}

// What a monitor says in place of an answer is short, and prints.
func TestAComplaintIsShortAndPrints(t *testing.T) {
	long := strings.Repeat("\x1b[2J", 5000)
	err := complaint(&http.Response{StatusCode: 500, Status: "500 " + long, Body: io.NopCloser(strings.NewReader(`{"message":"` + strings.Repeat("\\u001b", 600) + `"}`))}, 0)
	if text := err.Error(); len(text) > 1000 || text != plain.Text(text) {
		t.Errorf("%d bytes: %.100q", len(text), text)
	}
}

func TestWhichCAsAreWatched(t *testing.T) {
	for directory, want := range map[string]bool{
		"https://acme-v02.api.letsencrypt.org/directory":         true,
		"https://acme-staging-v02.api.letsencrypt.org/directory": false,
		"https://acme.zerossl.com/v2/DV90":                       true,
		"https://ca.home.arpa/acme/directory":                    false,
		"":                                                       false,
	} {
		if IsPublic(directory) != want {
			t.Errorf("%s: %v", directory, !want)
		}
	}
}
