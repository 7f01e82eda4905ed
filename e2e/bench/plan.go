//go:build linux

package main

import "time"

// A plan says how long and how often everything is measured.
type plan struct {
	rounds int           // on loopback
	warm   time.Duration // before each window
	window time.Duration // that is measured
	settle time.Duration // between a load and the next thing

	idleLinks    int
	idleVisitors int
	idleOnLanes  int           // the most of these with lanes, which open slowly
	laneBytes    int64         // that make a flow move to a lane
	idleSettle   time.Duration // until memory is looked at
	idleGiven    time.Duration // the same of visitors: until a relay gives back what their coming has left
	idleTime     time.Duration // that idle links are watched

	names  int // that the relay knows, at most, for route
	visits int // for each of route's cases

	// The most for scale; of names and links the same as above.
	scaleVisitors    int // of one name, which may have 8,192
	scaleConnections int
	scaleRequests    int
	scaleMiB         int

	wanRounds int
	wanWarm   time.Duration
	wanWindow time.Duration
	wanIdle   time.Duration // before the first fetch: a link is warm within the 12 s of its first PING
	wanQuiet  int           // visitors that are there for beside
	wanSettle time.Duration // until they count as quiet
	fetches   int           // of 1 MB, in each round
	wanAll    bool          // all places and losses, or only those that say most
}

func full() plan {
	return plan{
		rounds: 5, warm: 500 * time.Millisecond, window: 1500 * time.Millisecond, settle: 200 * time.Millisecond,
		idleLinks: 10_000, idleVisitors: 5_000, idleOnLanes: 1_000, laneBytes: 4 << 20, idleSettle: 10 * time.Second, idleGiven: 75 * time.Second, idleTime: 20 * time.Second,
		names: 1_000_000, visits: 1_000,
		scaleVisitors: 8_000, scaleConnections: 10_000, scaleRequests: 100_000, scaleMiB: 10_000,
		wanRounds: 3, wanWarm: 2 * time.Second, wanWindow: 6 * time.Second, wanIdle: 15 * time.Second, wanQuiet: 100, wanSettle: 5 * time.Second, fetches: 10, wanAll: true,
	}
}

func quick() plan {
	return plan{
		rounds: 2, warm: 250 * time.Millisecond, window: 400 * time.Millisecond, settle: 100 * time.Millisecond,
		idleLinks: 2_000, idleVisitors: 1_000, idleOnLanes: 200, laneBytes: 4 << 20, idleSettle: 2 * time.Second, idleGiven: 15 * time.Second, idleTime: 5 * time.Second,
		names: 100_000, visits: 300,
		scaleVisitors: 1_000, scaleConnections: 1_000, scaleRequests: 10_000, scaleMiB: 1_000,
		wanRounds: 1, wanWarm: time.Second, wanWindow: 2 * time.Second, wanIdle: 15 * time.Second, wanQuiet: 100, wanSettle: 5 * time.Second, fetches: 5,
	}
}

// tiny is for the test that this program works at all.
func tiny() plan {
	return plan{
		rounds: 1, warm: 20 * time.Millisecond, window: 100 * time.Millisecond, settle: time.Millisecond,
		idleLinks: 100, idleVisitors: 100, idleOnLanes: 20, laneBytes: 4 << 20, idleSettle: 20 * time.Millisecond, idleGiven: 20 * time.Millisecond, idleTime: 100 * time.Millisecond,
		names: 1_000, visits: 20,
		scaleVisitors: 40, scaleConnections: 40, scaleRequests: 40, scaleMiB: 40,
		wanRounds: 1, wanWarm: 200 * time.Millisecond, wanWindow: 500 * time.Millisecond, wanQuiet: 5, fetches: 1,
	}
}
