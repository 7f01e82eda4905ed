package remote

// OnlyName returns the name that is meant where none is given and none is served: the
// only one that was served from a state directory, or "" where none was. The error is
// an [*AmbiguousError] where several were.
func OnlyName(stateDir string) (string, error) {
	s := &state{dir: stateDir}
	return s.lastName("\x00") // no service is called like this
}
