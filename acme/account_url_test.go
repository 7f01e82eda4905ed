package acme

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The accounts of a folder are those that the CAs gave to the keys that are used there
// now: not one that is dead, damaged, or belongs to a key that is not there any more.
func TestAccountsAreThoseOfTheKeysInUse(t *testing.T) {
	dir := t.TempDir()
	if list, err := Accounts(dir); err != nil || len(list) != 0 {
		t.Errorf("before the first order: %q, %v", list, err)
	}
	cas := newAccountCAs(func(host string, key int) bool { return host == "other.test" && key == 1 })
	a, b := accountsOf(t, dir, cas, io.Discard)
	want, err := Accounts(dir)
	if err != nil || !slices.Equal(want, []string{"https://" + a, "https://" + b}) {
		t.Fatalf("%q, %v", want, err)
	}
	for name, text := range map[string]string{
		"dead.test.json": `{"status":"deactivated","location":"https://dead.test/1"}`, "damaged.test.json": "{", "gone.test.json": `{"status":"valid","location":"https://gone.test/1","key":"x"}`,
		"notes.txt": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, accountsDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := Accounts(dir); err != nil || !slices.Equal(list, want) {
		t.Errorf("%q, %v, want %q", list, err, want)
	}
	if err := os.Remove(filepath.Join(dir, accountKey)); err != nil {
		t.Fatal(err)
	}
	if list, err := Accounts(dir); err != nil || len(list) != 1 || !slices.Contains(want, list[0]) {
		t.Errorf("without the shared key: %q, %v", list, err)
	}
}
