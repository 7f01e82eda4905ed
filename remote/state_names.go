package remote

import "errors"

// OnlyName returns the name that is meant where none is given and none is served: the
// only one that was served from a state directory, or "" where none was. The error is
// an [*AmbiguousError] where several were.
func OnlyName(stateDir string) (string, error) {
	s := &state{dir: stateDir}
	return s.lastName("\x00") // no service is called like this
}

// WasServed reports whether a name was served from a state directory, as far as is known.
func WasServed(stateDir, name string) bool {
	_, err := (&state{dir: stateDir}).served(name)
	return !errors.Is(err, errNotServed)
}
