package names

import (
	"fmt"
	"time"
)

// A Denied is the error of a claim that is refused.
type Denied struct {
	Name  string
	Code  Code
	Text  string        // for people
	Hints []string      // what the device's owner can do, one line each
	Retry time.Duration // when to ask again; 0 where nobody can tell
}

// A Code is the kind of a Denied.
type Code int

// The kinds of a Denied.
const (
	DeniedInvalid     Code = iota + 1 // not a name that this relay gives out
	DeniedTaken                       // it is another identity's
	DeniedToken                       // it takes a token that is valid for the name, such as one that is reserved
	DeniedClosed                      // no new names are given out
	DeniedLimit                       // the identity, or the relay, has too many names
	DeniedUnavailable                 // it cannot be decided now
	DeniedBanned                      // the operator has banned the name, the identity or the address
	DeniedUnproven                    // DNS does not say that the domain is the identity's
)

func (d *Denied) Error() string { return fmt.Sprintf("%s is denied: %s", d.Name, d.Text) }

// Served is the text of the denial of a name in Rules.Static.
const Served = "the relay's operator serves this name from a server of its own"

// Taken is the error for a name that another identity holds.
func Taken(name string) *Denied {
	return &Denied{Name: name, Code: DeniedTaken, Text: "it belongs to another device"}
}
