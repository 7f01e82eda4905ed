package relay_test

import (
	"regexp"
	"strings"
	"testing"

	"keystay/relay"
	"keystay/relay/limits"
)

// What the operator says is on the relay's page as it is written: paragraphs, lists and
// links, and nothing of it is HTML. It can change while the relay runs.
func TestWordsOfTheOperatorAreShownAsText(t *testing.T) {
	r := newRig(t, nil)
	if _, body := r.get(zone, "/"); strings.Contains(body, "From the operator") {
		t.Error("words that nobody has said")
	}
	r.srv.SetWords("One line\r\nand another.\r\n\r\nPlease:\n- be kind\n- read (https://rules.example/a?b=1&c=<2>).\n\n" +
		"<script>alert(1)</script> javascript:alert(1) http://plain.example https://\"onload=x https://x.example/'y {{.Domain}}\n")
	_, body := r.get(zone, "/")
	_, words, _ := strings.Cut(body, "From the operator</h2>")
	words, _, _ = strings.Cut(words, "</section>")
	for _, want := range []string{
		"<p>One line<br>and another.</p>", "<p>Please:</p>", "<li>be kind</li>",
		`<li>read (<a href="https://rules.example/a?b=1&amp;c=" rel="nofollow noopener noreferrer">https://rules.example/a?b=1&amp;c=</a>&lt;2&gt;).</li>`,
		"&lt;script&gt;alert(1)&lt;/script&gt; javascript:alert(1) http://plain.example", `<a href="https://x.example/" `, "{{.Domain}}",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("no %q in %s", want, words)
		}
	}
	for _, tag := range regexp.MustCompile(`<[a-z]+[^>]*>`).FindAllString(words, -1) {
		if !regexp.MustCompile(`^<(p|br|ul|li|a href="https://[^"]*" rel="nofollow noopener noreferrer")>$`).MatchString(tag) {
			t.Errorf("the words have made %s", tag)
		}
	}
	r.srv.SetWords("")
	if _, body := r.get(zone, "/"); strings.Contains(body, "From the operator") {
		t.Error("words that were taken back")
	}
}

// The page has the limits that are in force for whoever wants to publish.
func TestPageShowsLimitsInForce(t *testing.T) {
	r := newRig(t, func(s *relay.Server) { s.Names.CertificatesPerWeek, s.Names.NamesPerIdentity = 7, 5 })
	r.srv.SetLimits(limits.Config{Identity: limits.Owner{BytesPerMonth: 3 << 40, Bandwidth: -1}, Name: limits.Owner{Bandwidth: 10 << 20}})
	_, body := r.get(zone, "/")
	for _, want := range []string{"<dt>Names for one device</dt><dd>5</dd>", "<dd>7 a week</dd>", "<dt>Bandwidth of one name, each way</dt><dd>10MiB/s</dd>", "<dt>Bytes of one device in a month</dt><dd>3TiB</dd>", ">Serving<"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in %s", want, body)
		}
	}
	if strings.Contains(body, "Bandwidth of one device") {
		t.Error("a limit that is off is shown")
	}
}
