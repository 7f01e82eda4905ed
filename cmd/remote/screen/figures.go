package screen

import "time"

// Figures are what is shown at one time. Texts may come from outside: what does not
// print in them is not shown.
type Figures struct {
	// Now is the time of the figures.
	Now time.Time
	// Alarms stand above everything else.
	Alarms []string
	// Names are the public names, in the order in which they are shown.
	Names []Name
	// State is what the run is doing beside serving, such as coming to its end; empty is
	// nothing.
	State string
	// Traffic is what the visitors of all names do.
	Traffic Traffic
	// Messages are what has happened, the newest last.
	Messages []Message
}

// A Name is a public name with what is known of it.
type Name struct {
	URL, Target string
	// Up says that visitors get there.
	Up bool
	// Visitors is how many are there now.
	Visitors int
	// Rows are what else is known, what matters most first.
	Rows []Row
}

// A Row is one thing that is known of a name.
type Row struct {
	Label, Text string
	Mood        Mood
}

// A Mood is what a text means for whoever reads it.
type Mood int

// The moods.
const (
	Plain Mood = iota
	Good
	Doubtful
	Bad
)

// Traffic is what visitors have asked for.
type Traffic struct {
	// HTTP says that there may be requests: a name leads to a service that speaks it.
	HTTP bool
	// Requests are the last ones, the newest last.
	Requests []Request
	// Total is how many there were since the start.
	Total int
	// Seconds are how many came in each second, the one that goes on last.
	Seconds []int
}

// A Request is one request of a visitor.
type Request struct {
	// Began is when it came.
	Began time.Time
	// Name is the public name that it is for.
	Name         string
	Method, Path string
	// Status is that of its answer; 0 before there is one, and where there was none.
	Status int
	// Took is the time until its end.
	Took time.Duration
	// Ended says that it has ended, and Cut that it did before its answer was whole.
	Ended, Cut bool
}

// A Message is something that has happened.
type Message struct {
	Time  time.Time
	Text  string
	Hints []string // what to do about it
	Mood  Mood
}
