package names_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"keystay/relay/names"
)

// writeOldRecord closes the record in dir and writes to it in the form of the
// versions that had grants and holders alone, as used at seen.
func writeOldRecord(t *testing.T, g *names.Grants, dir string, list map[string]identity, seen time.Time) {
	t.Helper()
	if g != nil {
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, "names.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		grants, err1 := tx.CreateBucketIfNotExists([]byte("grants"))
		holders, err2 := tx.CreateBucketIfNotExists([]byte("holders"))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(list)) {
			id := list[name]
			key := id.key.Public().(ed25519.PublicKey)
			b, err := json.Marshal(map[string]any{"key": []byte(key), "since": seen, "seen": seen})
			if err != nil {
				return err
			}
			if _, err := grants.NextSequence(); err != nil {
				return err
			}
			if err := errors.Join(grants.Put([]byte(name), b), holders.Put(append(key[:len(key):len(key)], name...), nil)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A record of an older version is taken up, whenever such a version has written
// to it. What it kept of labels made from keys is dropped.
func TestOlderRecordIsTakenUp(t *testing.T) {
	r := newRig(t, nil)
	a, b, c := newIdentity(t), newIdentity(t), newIdentity(t)
	writeOldRecord(t, r.grants(), r.dir, map[string]identity{"a.relay.test": a, a.label(): a, b.label(): b}, time.Now())
	grants := openGrants(t, r.dir)
	r.names = &names.Names{Grants: grants}
	r.names.Begin(zone)
	if n := grants.Count(); n != 1 {
		t.Errorf("%d names are counted, want 1", n)
	}
	// The older version once more, as after a takeover that has failed.
	writeOldRecord(t, grants, r.dir, map[string]identity{"deep.b.relay.test": b}, time.Now())
	r.names.Grants = openGrants(t, r.dir)
	if n := r.grants().Count(); n != 2 {
		t.Errorf("%d names are counted, want 2", n)
	}
	denied(t, r.claim(c, "a.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(c, "deep.b.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(c, "b.relay.test", ""), names.DeniedTaken)
	r.allowed(a, "a.relay.test", "")
	r.allowed(b, "deep.b.relay.test", "")
	r.allowed(a, a.label(), "")
}

// A label made from a key proves itself directly below the zone alone. Further down
// it is a name like any other, and its holder keeps it when the record is rebuilt,
// however the record is opened again.
func TestRebuildKeepsKeyLabelsThatAreNotDirectlyBelowTheZone(t *testing.T) {
	r := newRig(t, nil)
	a, b := newIdentity(t), newIdentity(t)
	deep := strings.TrimSuffix(a.label(), zone) + "team." + zone
	r.allowed(a, deep, "")
	denied(t, r.claim(b, deep, ""), names.DeniedTaken)
	writeOldRecord(t, r.grants(), r.dir, map[string]identity{a.label(): a}, time.Now())
	if err := r.grants().Reopen(); err != nil { // the zone is known
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		denied(t, r.claim(b, deep, ""), names.DeniedTaken)
		denied(t, r.claim(b, "team."+zone, ""), names.DeniedTaken)
		r.allowed(a, deep, "")
		if n := r.grants().Count(); n != 1 {
			t.Errorf("%d names are counted, want 1", n)
		}
	}
	check()
	writeOldRecord(t, r.grants(), r.dir, map[string]identity{a.label(): a, b.label(): b}, time.Now())
	r.names = &names.Names{Grants: openGrants(t, r.dir)}
	r.names.Begin(zone) // the zone comes later
	check()
}

// A mistake of keystay's own, in a transaction, is the error of whoever made it.
// The record stays open and whole for everybody else.
func TestOwnMistakeDoesNotCloseTheRecord(t *testing.T) {
	r := newRig(t, nil)
	a := newIdentity(t)
	r.allowed(a, "a.relay.test", "")
	for _, err := range []error{r.grants().PanicInView(), r.grants().PanicInUpdate()} {
		if err == nil || errors.Is(err, names.ErrDamaged) || !strings.Contains(err.Error(), "a mistake in this program, at export_test.go:") {
			t.Errorf("a mistake: %v", err)
		}
	}
	denied(t, r.claim(newIdentity(t), "a.relay.test", ""), names.DeniedTaken)
	r.allowed(a, "b.relay.test", "")
	if n := r.grants().Count(); n != 2 {
		t.Errorf("%d names are counted, want 2", n)
	}
}

// A claim without a key is denied, whatever the record has.
func TestClaimWithoutAKeyIsDenied(t *testing.T) {
	r := newRig(t, nil)
	for _, key := range []ed25519.PublicKey{nil, {}, make([]byte, 31)} {
		_, err := r.names.Claim(t.Context(), names.Claimant{Name: "a.relay.test", Key: key})
		denied(t, err, names.DeniedInvalid)
	}
	if n, err := r.grants().Held(nil); n != 0 || err != nil {
		t.Errorf("%d names are held by nobody, %v", n, err)
	}
}

// Labels made from keys use up nothing: with room for one more name, devices that
// nobody knows come with their own, and it is still there for a good token.
func TestKeyLabelsUseUpNothing(t *testing.T) {
	r := newRig(t, policy(names.WithToken, names.Token{Secret: "a good token", Names: []string{"xyz.relay.test"}}))
	grants := r.grants()
	if err := grants.SetCount(names.MaxGrants - 1); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		id := newIdentity(t)
		r.allowed(id, id.label(), "")
	}
	r.allowed(newIdentity(t), "xyz.relay.test", "a good token")
	id := newIdentity(t)
	r.allowed(id, id.label(), "") // also when all is given out
	if n := grants.Count(); n != names.MaxGrants {
		t.Errorf("%d names are counted", n)
	}
}

// What has expired counts neither for an identity nor for the relay, before it
// is swept too.
func TestExpiredCountsForNobody(t *testing.T) {
	r := newRig(t, nil)
	grants := r.grants()
	a, b := newIdentity(t), newIdentity(t)
	for i := range names.MaxNamesPerIdentity {
		name := fmt.Sprintf("n%d.relay.test", i)
		if err := r.claim(a, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range names.MaxNamesPerIdentity {
		if err := grants.Backdate(fmt.Sprintf("n%d.relay.test", i), names.GrantTime+names.GraceTime+time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := grants.SetCount(names.MaxGrants); err != nil {
		t.Fatal(err)
	}
	for i := range names.MaxNamesPerIdentity {
		r.allowed(a, fmt.Sprintf("new%d.relay.test", i), "")
	}
	denied(t, r.claim(a, "more.relay.test", ""), names.DeniedLimit)
	if n := grants.Count(); n != names.MaxGrants {
		t.Errorf("%d names are counted, and what has expired is swept: want %d", n, names.MaxGrants)
	}
	denied(t, r.claim(b, "more.relay.test", ""), names.DeniedLimit)
}

// What has expired is swept at the start, and then every hour.
func TestExpiredNamesAreSweptEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		grants := r.grants()
		id := newIdentity(t)
		key := id.key.Public().(ed25519.PublicKey)
		const many = 600 // more than one transaction drops
		give := func(prefix string, age time.Duration) {
			var list []string
			for i := range many {
				list = append(list, fmt.Sprintf("%s%d.relay.test", prefix, i))
			}
			if err := grants.Give(key, age, list...); err != nil {
				t.Fatal(err)
			}
		}
		give("old", names.GrantTime+names.GraceTime+time.Minute)
		give("later", names.GrantTime+names.GraceTime-30*time.Minute)
		if err := grants.Give(key, 0, "fresh.relay.test"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go r.names.Upkeep(ctx, func() []names.Holding { return nil }, slog.New(slog.DiscardHandler))
		synctest.Wait()
		if n := grants.Count(); n != many+1 {
			t.Errorf("%d names after the start, want %d", n, many+1)
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if n := grants.Count(); n != 1 {
			t.Errorf("%d names an hour later, want 1", n)
		}
		cancel()
		synctest.Wait()
		grants.Close()
	})
}

// A denied claim writes nothing, so that many of them hold nobody up.
func TestDeniedClaimsWriteNothing(t *testing.T) {
	r := newRig(t, nil)
	grants := r.grants()
	a := newIdentity(t)
	if err := grants.Give(make([]byte, 32), 0, "a.relay.test"); err != nil {
		t.Fatal(err)
	}
	for i := range names.MaxNamesPerIdentity {
		if err := r.claim(a, fmt.Sprintf("n%d.relay.test", i), ""); err != nil {
			t.Fatal(err)
		}
	}
	before := grants.Writes()
	denied(t, r.claim(a, "a.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(a, "x.a.relay.test", ""), names.DeniedTaken)
	denied(t, r.claim(a, "more.relay.test", ""), names.DeniedLimit)
	if err := r.claim(a, "n0.relay.test", ""); err != nil {
		t.Error(err)
	}
	if n := grants.Writes(); n != before {
		t.Errorf("%d transactions were written", n-before)
	}
}

// Claims that come at once share transactions, and one that fails in the middle
// undoes none of the others.
func TestClaimsAtOnceShareTransactions(t *testing.T) {
	r := newRig(t, nil)
	grants := r.grants()
	before := grants.Writes()
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := grants.Give(make([]byte, 32), 0, fmt.Sprintf("n%d.relay.test", i)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := grants.Fail(); err == nil {
				t.Error("the error of a change is lost")
			}
		})
	}
	wg.Wait()
	if c := grants.Count(); c != n {
		t.Errorf("%d names, want %d", c, n)
	}
	if w := grants.Writes() - before; w > n {
		t.Errorf("%d transactions for %d names", w, n)
	}
}
