package record_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"keystay/e2e/internal/etcd"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// entries are all entries of a record, by table and key.
func entries(t testing.TB, s names.Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := s.View(func(tx names.Tx) error {
		for _, tables := range [][]names.Table{names.Kept(), names.Following()} {
			for _, table := range tables {
				n := 0
				for k, v := range tx.From(table, nil) {
					all[string(table)+"/"+string(k)] = string(v)
					n++
				}
				if n != tx.Count(table) {
					t.Errorf("%s has %d entries, and counts %d", table, n, tx.Count(table))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func timeOf(t testing.TB, s names.Store) (now time.Time) {
	t.Helper()
	if err := s.View(func(tx names.Tx) error { now = tx.Now(); return nil }); err != nil {
		t.Fatal(err)
	}
	return now
}

// fill gives an old record a bit of everything.
func fill(t testing.TB, n *names.Names, grants int) (key []byte, token string) {
	t.Helper()
	key = newKey()
	n.SetRules(names.Rules{NamesPerIdentity: grants, CertificatesPerWeek: 10})
	for i := range grants {
		if _, err := n.Claim(t.Context(), names.Claimant{Name: fmt.Sprintf("n%d.relay.test", i), Key: key}); err != nil {
			t.Fatal(err)
		}
	}
	token, _, err := n.CreateToken(names.TokenInfo{Names: []string{"*.team.relay.test"}, Uses: 3})
	if err == nil {
		_, err = n.Ban(names.Ban{Kind: names.BanName, Of: "bad.relay.test"})
	}
	if err == nil {
		_, err = n.Reserve("shop", "")
	}
	if err == nil {
		_, err = n.Take("n0.relay.test", "", false)
	}
	if err == nil {
		err = n.SaveUsage(map[string][]byte{"n1.relay.test": []byte(`{"month":"2026-11","bytes":7}`)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return key, token
}

// A record comes whole from a file into etcd, in one moment, whatever its size, and whole
// into a file again; its time goes on. A second one does not come over it.
func TestRecordComesWholeIntoEtcdAndBack(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	file, err := names.OpenGrants(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	old := &names.Names{Grants: file}
	old.Begin(zone)
	key, _ := fill(t, old, 150) // more than one transaction of etcd takes
	at := timeOf(t, file)
	want := entries(t, file)

	a := open(t, s, func(c *record.Config) { c.Time = at })
	ready(t, a)
	b := open(t, s, nil)
	ready(t, b)
	seen := make(chan int, 1000)
	b.record.Watch(func(names.Table) {
		_ = b.record.View(func(tx names.Tx) error { seen <- tx.Count(names.Kept()[0]); return nil })
	})
	if _, err := names.Transfer(file, a.record); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the other node has it", func() bool { return len(entries(t, b.record)) == len(want) })
	for len(seen) > 0 {
		if n := <-seen; n != 0 && n != 150 {
			t.Errorf("the other node saw %d names of 150", n)
		}
	}
	c := open(t, s, nil)
	ready(t, c)
	for i, n := range []*node{a, b, c} {
		if got := entries(t, n.record); !maps.Equal(got, want) {
			t.Errorf("node %d has %d entries, want %d", i, len(got), len(want))
		}
		if now := timeOf(t, n.record); now.Before(at) || now.After(at.Add(time.Hour)) {
			t.Errorf("node %d: the time went from %v to %v", i, at, now)
		}
	}
	if err := c.claim(key, "n7.relay.test"); err != nil {
		t.Error(err)
	}
	if err := c.claim(newKey(), "n7.relay.test"); err == nil {
		t.Error("a name that was brought over is given out anew")
	}
	waitFor(t, "nothing is staged any more", func() bool { return keys(t, s, "keystay/staged/") == 0 })
	if n := keys(t, s, "keystay/record/"); n != 1+150+1+1+1+1+count(want, "issued/") {
		t.Errorf("etcd has %d keys", n)
	}

	before := entries(t, a.record)
	if _, err := names.Transfer(file, a.record); !errors.Is(err, names.ErrNotEmpty) {
		t.Errorf("a second time: %v", err)
	}
	if !maps.Equal(entries(t, a.record), before) {
		t.Error("it has changed something")
	}
	dir := t.TempDir()
	back, err := names.OpenGrants(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := names.Transfer(a.record, back); err != nil {
		t.Fatal(err)
	}
	back.Close()
	if back, err = names.OpenGrants(dir); err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got := entries(t, back); !maps.Equal(got, before) {
		t.Errorf("back in a file: %d entries, want %d", len(got), len(before))
	}
	if now := timeOf(t, back); now.Before(at) || now.After(at.Add(time.Hour)) {
		t.Errorf("in the file the time went from %v to %v", at, now)
	}
}

// keys is how many keys etcd has below a prefix.
func keys(t testing.TB, s *etcd.Server, prefix string) int {
	t.Helper()
	resp, err := client(t, s).Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return int(resp.Count)
}

func count(all map[string]string, prefix string) (n int) {
	for k := range all {
		if len(k) > len(prefix) && k[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// A transaction with more changes than etcd takes at once is there whole on every node,
// or not at all, also while others write; and what has gone wrong leaves nothing.
func TestLargeTransactionIsWhole(t *testing.T) {
	t.Parallel()
	s := etcd.Start(t, nil)
	a, b := open(t, s, nil), open(t, s, nil)
	ready(t, a, b)
	table := names.Kept()[5] // of usage, which may have any value
	const parts = 3
	large := bytes.Repeat([]byte("x"), 1<<17) // 15 of them are more than one request takes
	set := func(n *node, round byte) error {
		return n.record.Update(func(tx names.Tx) error {
			for i := range parts * 100 {
				value := []byte{round}
				if i%20 == 0 {
					value = append(value, large...)
				}
				if err := tx.Set(table, fmt.Appendf(nil, "k%d", i), value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	whole := func(n *node) {
		_ = n.record.View(func(tx names.Tx) error {
			rounds := make(map[byte]int)
			for _, v := range tx.From(table, nil) {
				rounds[v[0]]++
			}
			if len(rounds) > 1 {
				t.Errorf("parts of several transactions: %v", rounds)
			}
			return nil
		})
	}
	for _, n := range []*node{a, b} {
		n.record.Watch(func(names.Table) { whole(n) })
	}
	done := make(chan error, 2)
	for i, n := range []*node{a, b} {
		go func() {
			for round := range byte(2) {
				if err := set(n, 2*round+byte(i)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	c := open(t, s, nil)
	ready(t, c)
	waitFor(t, "all have the same", func() bool {
		return maps.Equal(entries(t, a.record), entries(t, c.record)) && maps.Equal(entries(t, b.record), entries(t, c.record))
	})
	if n := keys(t, s, "keystay/staged/"); n > 0 {
		t.Errorf("%d keys are staged still", n)
	}
	if _, err := client(t, s).Put(t.Context(), "keystay/staged/0123456789abcdef/begin", ""); err != nil { // of a node that has died
		t.Fatal(err)
	}
	for range 2 {
		if err := c.record.Upkeep(nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := keys(t, s, "keystay/staged/"); n > 0 {
		t.Errorf("what a dead node has staged stays")
	}
}
