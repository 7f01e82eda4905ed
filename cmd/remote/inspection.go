package main

import (
	"fmt"
	"net/http"
	"os"

	"keystay/internal/hint"
	"keystay/internal/plain"
	"keystay/remote/publish"
	"keystay/remote/publish/inspect"
)

// An inspection is the inspector of a run, with its page. nil is none.
type inspection struct {
	inspector *inspect.Inspector
	page      *inspect.Server
}

// newInspection serves the inspector's page on a loopback address, and has the maker put
// the inspector before all HTTP services. With an empty address it does nothing.
func newInspection(address string, m *maker) (*inspection, error) {
	if address == "" {
		return nil, nil
	}
	in := new(inspect.Inspector)
	page, err := inspect.Start(address, in)
	if err != nil {
		return nil, hint.NoInspector.Error(err)
	}
	m.inspector = in
	return &inspection{in, page}, nil
}

// url is the address of the page, with the token that opens it, or "".
func (in *inspection) url() string {
	if in == nil {
		return ""
	}
	return in.page.URL()
}

// tell prints the address, once.
func (in *inspection) tell(out *os.File) {
	switch {
	case in == nil:
	case isTerminal(out):
		fmt.Fprintln(out, plain.Text("  Inspector  "+in.url()))
	default:
		fmt.Fprintln(out, plain.Text("inspector "+in.url()))
	}
}

// add lets requests for a site be repeated, until remove is called.
func (in *inspection) add(name string, site *publish.Site) (remove func()) {
	if in == nil {
		return func() {}
	}
	return in.inspector.Add(name, http.HandlerFunc(site.Again))
}

// close ends the page.
func (in *inspection) close() {
	if in != nil {
		in.page.Close()
	}
}
