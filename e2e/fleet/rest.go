package main

import (
	"slices"
	"time"
)

// A Rest is what the fleet needs while nothing goes wrong.
type Rest struct {
	Least, Mean, Most int           // links of a node
	SameRegion        float64       // share of the links that are to a node of the device's own region
	Away, AwayMost    time.Duration // from a device to the nearer of its nodes and back: half of them, and 99 of 100

	Links, Entries, Record float64 // bytes of memory of a node on average: of its links, of the others' names, of the record

	Hops    float64       // share of visitors that go from one node to another one
	HopAway time.Duration // what that adds to a visitor's round trip, on average of those that hop

	BeatBytes    float64 // a second: bytes of these that a node sends, and takes in as much
	Changes      float64 // a second: names that come or go, at all nodes together
	ChangeBytes  float64 // a second: bytes that a node is told of these, and tells as much
	Snapshot     float64 // bytes that a node tells another one that is new to it
	SnapshotAll  float64 // bytes that a node takes in from all others when it starts
	SnapshotTime time.Duration
	Writes       float64 // a second: to etcd, of all nodes
	WriteBytes   float64 // a second: that etcd keeps anew
	Watch        float64 // a second: bytes that etcd tells all nodes of these
	EtcdRest     float64 // a second: bytes between etcd and all nodes at rest
}

// seen is how often a name that is in use is written to the record, so that it does not
// expire: the step of package relay/names, which does not export it.
const seen = 24 * time.Hour

// Rest tells what the fleet needs at rest.
func (f *Fleet) Rest() (r Rest) {
	c, nodes := f.costs, float64(len(f.nodes))
	var all []int
	for i := range f.nodes {
		all = append(all, f.nodes[i].links)
	}
	links := float64(linksEach * len(f.devices))
	r.Least, r.Mean, r.Most = slices.Min(all), int(links/nodes), slices.Max(all)
	r.near(f)

	r.Links = links / nodes * c.LinkMemory
	r.Entries = links / nodes * (nodes - 1) * c.EntryMemory
	r.Record = float64(f.Names) * c.RecordMemory
	r.BeatBytes = (nodes - 1) * c.Beat
	r.Changes = 2 * links / f.LinkLasts.Seconds() // it goes, and another one comes
	r.ChangeBytes = r.Changes * c.Change * (nodes - 1) / nodes
	r.Snapshot = links / nodes * c.Entry
	r.SnapshotAll = r.Snapshot * (nodes - 1)
	r.SnapshotTime = f.takes(r.SnapshotAll)

	r.Writes = f.NewNames + float64(f.Names)/seen.Seconds()
	r.WriteBytes = r.Writes * c.Kept
	r.Watch = r.Writes * c.Watch * nodes
	r.EtcdRest = c.Etcd * nodes
	return r
}

// takes is how long the network needs for so many bytes of snapshots.
func (f *Fleet) takes(bytes float64) time.Duration {
	return time.Duration(bytes / f.Rate * float64(time.Second))
}

// near finds out where links lead, and how many visitors have to hop: a visitor comes to
// any node of its own region, and asks for any name.
func (r *Rest) near(f *Fleet) {
	var away []time.Duration
	same, hops, added := 0, 0, time.Duration(0)
	for i := range f.devices {
		d := &f.devices[i]
		nearest := time.Hour
		for _, at := range d.links {
			nearest = min(nearest, f.away(i, at))
			if f.nodes[at].region == d.region {
				same++
			}
		}
		away = append(away, nearest)
		at := f.random.IntN(len(f.nodes))
		if slices.Contains(d.links[:], at) {
			continue
		}
		hops++
		added += f.apart(at, d.links[f.random.IntN(linksEach)])
	}
	slices.Sort(away)
	r.Away, r.AwayMost = away[len(away)/2], away[len(away)*99/100]
	r.SameRegion = float64(same) / float64(linksEach*len(f.devices))
	r.Hops = float64(hops) / float64(len(f.devices))
	r.HopAway = added / time.Duration(max(1, hops))
}
