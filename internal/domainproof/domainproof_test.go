package domainproof_test

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/domainproof"
	"keystay/internal/keyname"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device returns the label of a device, another one for each number.
func device(n byte) string { return keyname.Label([]byte{n}, "") }

// What providers' forms make of a record is still that record, and what has another
// meaning is none.
func TestParse(t *testing.T) {
	l := device(1)
	for _, text := range []string{
		"keystay=" + l, "KEYSTAY=" + strings.ToUpper(l), " keystay = " + l + "\t", `"keystay=` + l + `"`, ` "keystay=` + l + ` " `,
	} {
		if got, ok := domainproof.Parse(text); !ok || got != l {
			t.Errorf("%q is %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{
		"", l, "keystay", "keystay=", "keystay=" + l[1:], "keystay=" + l + "a", "keystay=" + l + " " + device(2), "keystay=" + l + ";", "keystay:" + l,
		"keystay=" + l + ".relay.test", "key stay=" + l, "xkeystay=" + l, `"keystay=` + l, "keystay=" + l + `"`, `""keystay=` + l + `""`,
		"keystay=1" + l[1:], "keystay=é" + l[2:], "keystay==" + l, "v=spf1 -all", "keystay=" + l + strings.Repeat(" ", 300), "keystay=" + l + "\x00",
	} {
		if got, ok := domainproof.Parse(text); ok {
			t.Errorf("%q is %q", text, got)
		}
	}
	if got, ok := domainproof.Parse(domainproof.Record(l)); !ok || got != l {
		t.Errorf("Record and Parse differ: %q, %v", got, ok)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("keystay=" + device(1))
	f.Add(`"keystay= ` + device(1) + `"`)
	f.Fuzz(func(t *testing.T, text string) {
		label, ok := domainproof.Parse(text)
		if !ok {
			return
		}
		if !keyname.Is(label) || !strings.Contains(strings.ToLower(text), label) {
			t.Errorf("%q is %q", text, label)
		}
		if again, ok := domainproof.Parse(domainproof.Record(label)); !ok || again != label {
			t.Errorf("%q is %q", label, again)
		}
	})
}

func ExampleRecord() {
	label := keyname.Label(make([]byte, 32), "")
	fmt.Println(domainproof.Owner("app.example.com"), "TXT", domainproof.Record(label))
	fmt.Println("app.example.com", "CNAME", domainproof.Target(label, "relay.net"))
	// Output:
	// _keystay.app.example.com TXT keystay=r7spndyrnljiqxaxgrpjxslmubxpnwpl
	// app.example.com CNAME r7spndyrnljiqxaxgrpjxslmubxpnwpl.relay.net
}
