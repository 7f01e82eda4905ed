package record

import (
	"bytes"
	"testing"
	"time"

	"go.uber.org/goleak"

	"keystay/relay/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The sum of a set of entries is the same in whatever order they came and went, and
// another one for any other set.
func TestSumIsOfASet(t *testing.T) {
	seal := newSealer(make([]byte, KeySize))
	entries := [][3]string{{"grants", "a", "1"}, {"grants", "a1", ""}, {"grantsa", "1", ""}, {"bans", "a", "1"}, {"grants", "", "a1"}}
	var all, back sum
	for _, e := range entries {
		all.add(seal.of(names.Table(e[0]), []byte(e[1]), []byte(e[2])))
	}
	for i := range entries {
		e := entries[len(entries)-1-i]
		back.add(seal.of(names.Table(e[0]), []byte(e[1]), []byte(e[2])))
	}
	if all != back || all == (sum{}) {
		t.Errorf("%x and %x", all, back)
	}
	seen := map[sum]bool{all: true}
	for _, e := range entries {
		less := all
		less.sub(seal.of(names.Table(e[0]), []byte(e[1]), []byte(e[2])))
		if seen[less] {
			t.Errorf("without %q it is that of another set", e)
		}
		seen[less] = true
	}
	for _, e := range entries {
		all.sub(seal.of(names.Table(e[0]), []byte(e[1]), []byte(e[2])))
	}
	if all != (sum{}) {
		t.Errorf("of nothing: %x", all)
	}
}

// Nothing of a head, nor of what it is the head of, changes without its MAC.
func TestHeadIsSealed(t *testing.T) {
	key := make([]byte, KeySize)
	h := head{Seq: 7, Time: time.Unix(1e9, 0).UTC(), Zone: "relay.test"}
	read, err := readHead([]byte(h.write(key, sum{1})))
	if err != nil {
		t.Fatal(err)
	}
	d := &draft{sum: sum{1}}
	if err := d.verify(key, read); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(){
		"its number":  func() { read.Seq++ },
		"its time":    func() { read.Time = read.Time.Add(time.Second) },
		"its zone":    func() { read.Zone = "" },
		"its staging": func() { read.Staged = "0" },
		"the entries": func() { d.sum[3]++ },
		"the key":     func() { key = bytes.Repeat([]byte{1}, KeySize) },
	} {
		was, of, by := read, d.sum, key
		if change(); d.verify(key, read) == nil {
			t.Errorf("%s is not sealed", name)
		}
		read, d.sum, key = was, of, by
	}
}

// What is staged is read as it was written, and what is not whole is not read.
func FuzzStagedChanges(f *testing.F) {
	f.Add(change{"grants", []byte("a"), []byte("b")}.append(change{"bans", []byte("c"), nil}.append(nil)))
	f.Add([]byte{1, 0, 0, 0})
	f.Add([]byte{0, 1, 'a', 0, 1, 'b'})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		for rest := b; len(rest) > 0; {
			c, next, err := cutChange(rest)
			if err != nil {
				return
			}
			again, rest = c.append(again), next
		}
		var once []byte
		for rest := again; len(rest) > 0; {
			c, next, err := cutChange(rest)
			if err != nil {
				t.Fatalf("%x of %x: %v", again, b, err)
			}
			once, rest = c.append(once), next
		}
		if !bytes.Equal(again, once) {
			t.Errorf("%x became %x", again, once)
		}
	})
}
