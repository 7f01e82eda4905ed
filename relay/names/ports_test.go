package names_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"keystay/relay/names"
)

func ports(first, last uint16) func(*names.Names) {
	return func(n *names.Names) { n.Ports = names.Ports{First: first, Last: last} }
}

func fits(string) bool { return false }

// claimPort chooses a port for an identity and claims it.
func (r *rig) claimPort(id identity, asked uint16, token string) (name string, err error) {
	name, _, err = r.names.ChoosePort(names.Claimant{Key: public(id), Token: token, Port: asked}, fits)
	if err != nil {
		return "", err
	}
	_, err = r.names.Claim(r.t.Context(), names.Claimant{Name: name, Key: public(id), Token: token, Port: asked})
	return name, err
}

// gets checks which port an identity gets that asks for one.
func (r *rig) gets(id identity, asked uint16, want string) {
	r.t.Helper()
	if got, err := r.claimPort(id, asked, ""); err != nil || got != want {
		r.t.Errorf("who asks for %d gets %q, %v; want %s", asked, got, err, want)
	}
}

// The number asked for is given where it is in the range; else the first that ends in
// as many of its digits as one does; else the next one that is free.
func TestThePortIsTheOneThatIsMostAlike(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	for asked, want := range map[uint16]string{22: "relay.test:20022", 8443: "relay.test:20443", 20500: "relay.test:20500", 7: "relay.test:20007", 65535: "relay.test:20535"} {
		r.gets(newIdentity(t), asked, want)
	}
	r.gets(newIdentity(t), 22, "relay.test:20122")
	r.gets(newIdentity(t), 18443, "relay.test:20043") // of three digits it is taken
	r.gets(newIdentity(t), 20500, "relay.test:20000")
	small := newRig(t, ports(20098, 20101))
	for _, want := range []string{"relay.test:20100", "relay.test:20101", "relay.test:20098", "relay.test:20099"} { // of these one is alike
		small.gets(newIdentity(t), 2100, want)
	}
}

// Whatever is asked for, every port of the range comes once at least.
func TestEveryPortCanBeGiven(t *testing.T) {
	for _, p := range []names.Ports{{First: 1, Last: 1}, {First: 20000, Last: 20999}, {First: 1999, Last: 2003}, {First: 65000, Last: 65535}, {First: 1024, Last: 1300}} {
		for _, asked := range []uint16{1, 9, 22, 100, 443, 8443, 20022, 65535} {
			seen := make(map[uint16]bool)
			for port := range names.PortsLike(p, asked) {
				if !p.Has(port) {
					t.Fatalf("%v: %d for %d", p, port, asked)
				}
				seen[port] = true
			}
			if len(seen) != p.Count() {
				t.Errorf("%v: %d of %d ports for %d", p, len(seen), p.Count(), asked)
			}
		}
	}
}

// An identity has the same port each time that it asks for the same number, also after
// a restart of the relay, and nobody else gets it meanwhile or claims it by its name.
func TestAPortStaysWithItsIdentity(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	a, b := newIdentity(t), newIdentity(t)
	r.gets(b, 22, "relay.test:20022")
	r.gets(a, 22, "relay.test:20122")
	r.gets(a, 22, "relay.test:20122")
	denied(t, r.claim(a, "relay.test:20022", ""), names.DeniedTaken)
	if err := r.names.Release("relay.test:20022", public(b)); err != nil {
		t.Fatal(err)
	}
	r.gets(a, 22, "relay.test:20122") // which is its own, though the better one has lapsed
	r.gets(newIdentity(t), 22, "relay.test:20222")
	r.gets(b, 22, "relay.test:20022") // it is kept for it
	r.grants().Close()
	r.names = &names.Names{Grants: openGrants(t, r.dir), Ports: names.Ports{First: 20000, Last: 20999}}
	r.names.Begin(zone)
	r.gets(a, 22, "relay.test:20122")
	r.gets(b, 22, "relay.test:20022")
}

// Each number that an identity asks for is a port of its own, and asking for the very
// number of one that it has takes that.
func TestEachNumberIsAPortOfItsOwn(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	a := newIdentity(t)
	r.gets(a, 22, "relay.test:20022")
	r.gets(a, 5432, "relay.test:20432")
	r.gets(a, 1022, "relay.test:20122")
	r.gets(a, 20022, "relay.test:20022")
	r.gets(a, 20022, "relay.test:20022")
}

// What the policy says of new names, it says of ports; any valid token admits one.
func TestThePolicyCountsForPorts(t *testing.T) {
	tok := names.Token{Secret: "a token for one name", Names: []string{"a.relay.test"}}
	r := newRig(t, func(n *names.Names) {
		n.Policy, n.Tokens, n.Ports = names.WithToken, []names.Token{tok}, names.Ports{First: 20000, Last: 20999}
	})
	a := newIdentity(t)
	_, err := r.claimPort(a, 22, "")
	denied(t, err, names.DeniedToken)
	_, err = r.claimPort(a, 22, "wrong")
	denied(t, err, names.DeniedToken)
	if _, err := r.claimPort(a, 22, tok.Secret); err != nil {
		t.Error(err)
	}
	r.names.SetRules(names.Rules{Policy: names.Closed})
	_, err = r.claimPort(newIdentity(t), 22, tok.Secret)
	denied(t, err, names.DeniedClosed)
	r.gets(a, 22, "relay.test:20022") // it has it
}

// An identity holds as many ports as it may, released ones too, and its names do not
// count among them, nor they among its names.
func TestAnIdentityHoldsFewPorts(t *testing.T) {
	r := newRig(t, func(n *names.Names) {
		n.Ports, n.NamesPerIdentity = names.Ports{First: 20000, Last: 20999}, 1
	})
	a := newIdentity(t)
	for i := range uint16(names.MaxPortsPerIdentity) {
		if _, err := r.claimPort(a, 100+i, ""); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.claimPort(a, 22, "")
	denied(t, err, names.DeniedLimit)
	if err := r.names.Release("relay.test:20100", public(a)); err != nil {
		t.Fatal(err)
	}
	_, err = r.claimPort(a, 22, "")
	denied(t, err, names.DeniedLimit)
	r.gets(a, 100, "relay.test:20100")
	r.allowed(a, "a.relay.test", "")
	denied(t, r.claim(a, "b.relay.test", ""), names.DeniedLimit)
}

// Where no port is left, whoever asks for one is told so, and may ask again.
func TestPortsRunOut(t *testing.T) {
	r := newRig(t, ports(20000, 20001))
	r.gets(newIdentity(t), 22, "relay.test:20000")
	r.gets(newIdentity(t), 22, "relay.test:20001")
	_, err := r.claimPort(newIdentity(t), 22, "")
	var d *names.Denied
	if !errors.As(err, &d) || d.Code != names.DeniedLimit || d.Retry == 0 {
		t.Errorf("got %v", err)
	}
	none := newRig(t, nil)
	_, err = none.claimPort(newIdentity(t), 22, "")
	denied(t, err, names.DeniedInvalid)
}

// A port outside of the range, or of another relay, is nobody's.
func TestOnlyPortsOfTheRangeAreGiven(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	for _, name := range []string{"relay.test:443", "relay.test:21000", "other.test:20022", "x.relay.test:20022"} {
		denied(t, r.claim(newIdentity(t), name, ""), names.DeniedInvalid)
	}
}

// A port that is banned, or that cannot be used now, is not chosen, and the ban takes it
// from whoever has it.
func TestBannedAndUnfitPortsAreNotChosen(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	a := newIdentity(t)
	r.gets(a, 22, "relay.test:20022")
	b, err := r.names.Ban(names.Ban{Kind: names.BanName, Of: "Relay.test:20122"})
	if err != nil || b.Of != "relay.test:20122" {
		t.Fatalf("%+v, %v", b, err)
	}
	name, _, err := r.names.ChoosePort(names.Claimant{Key: public(newIdentity(t)), Port: 22}, func(name string) bool { return name == "relay.test:20222" })
	if err != nil || name != "relay.test:20322" {
		t.Errorf("chose %q, %v", name, err)
	}
	if _, err := r.names.Ban(names.Ban{Kind: names.BanName, Of: "relay.test:20022"}); err != nil {
		t.Fatal(err)
	}
	_, err = r.claimPort(a, 22, "")
	denied(t, err, names.DeniedBanned)
}

// The levers take ports as they take names: they are listed, shown, and freed.
func TestLeversTakePorts(t *testing.T) {
	r := newRig(t, ports(20000, 20999))
	var changes []string
	r.names.OnChange = func(c names.Change) { changes = append(changes, c.What+" "+c.Name) }
	a, b := newIdentity(t), newIdentity(t)
	r.gets(a, 22, "relay.test:20022")
	list, _, _, err := r.names.List(names.Filter{Contains: ":20022"}, "", 10)
	if err != nil || len(list) != 1 || list[0].Name != "relay.test:20022" || list[0].Status != names.Held {
		t.Fatalf("%+v, %v", list, err)
	}
	if _, err := r.names.Take("relay.test:20022", "", true); err != nil {
		t.Fatal(err)
	}
	r.gets(b, 22, "relay.test:20022")
	if want := []string{"granted relay.test:20022", "released relay.test:20022", "granted relay.test:20022"}; !slices.Equal(changes, want) {
		t.Errorf("changes: %q", changes)
	}
	if known, _, err := r.names.Look("relay.test:20022"); !known || err != nil {
		t.Errorf("visitors of it do not wait: %v", err)
	}
	if known, _, _ := r.names.Look("relay.test:20023"); known {
		t.Error("visitors of a port that is nobody's wait")
	}
}

// A port that is not used expires as a name does, and is kept from others after that.
func TestAPortExpires(t *testing.T) {
	for unseen, free := range map[time.Duration]bool{23 * time.Hour: false, 25 * time.Hour: false, 25*time.Hour + names.GraceTime: true} {
		r := newRig(t, func(n *names.Names) { n.Ports, n.ExpireUnused = names.Ports{First: 20000, Last: 20000}, 24*time.Hour })
		a := newIdentity(t)
		r.gets(a, 22, "relay.test:20000")
		if err := r.grants().Backdate("relay.test:20000", unseen); err != nil {
			t.Fatal(err)
		}
		if _, err := r.claimPort(newIdentity(t), 22, ""); (err == nil) != free {
			t.Errorf("not seen for %v: %v", unseen, err)
		}
		if !free {
			r.gets(a, 22, "relay.test:20000")
		}
	}
}

// The record is read again with ports in it, by a process that rebuilds it too.
func TestARebuiltRecordHasItsPorts(t *testing.T) {
	for name, whole := range map[string]bool{"relay.test:20022": true, "relay.test:": false, ":20022": false, "relay.test:0": false, "relay.test:20022:1": false} {
		if err := names.ParseStored(name); (err == nil) != whole {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func ExamplePorts() {
	fmt.Println(names.Ports{First: 20000, Last: 20999}, names.PortName("relay.net", 20022))
	// Output: 20000-20999 relay.net:20022
}

// A range of which nothing can be had is looked through once a second, also where one of
// its ports is free and another program has it: the record is kept from others meanwhile.
func TestAFullRangeIsLookedThroughOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, ports(20000, 20003))
		for asked := range uint16(3) {
			if _, err := r.claimPort(newIdentity(t), 20000+asked, ""); err != nil {
				t.Fatal(err)
			}
		}
		looks := 0
		unfit := func(string) bool {
			looks++
			return true
		}
		ask := func() {
			t.Helper()
			_, _, err := r.names.ChoosePort(names.Claimant{Key: public(newIdentity(t)), Port: 22}, unfit)
			denied(t, err, names.DeniedLimit)
		}
		for range 10 {
			ask()
		}
		if looks != 1 {
			t.Errorf("it is looked through %d times in a second", looks)
		}
		time.Sleep(time.Second)
		if ask(); looks != 2 {
			t.Errorf("a second later it is not looked through, or %d times in all", looks)
		}
	})
}
