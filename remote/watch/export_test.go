package watch

import "net/http"

// SetTransport gives the webhook another way.
func (a *Alarms) SetTransport(t http.RoundTripper) { a.transport = t }

// MaxEvidence is maxEvidence, for tests.
const MaxEvidence = maxEvidence

// MaxAddresses is maxAddresses, for tests.
const MaxAddresses = maxAddresses

// MaxBeside is maxBeside, for tests.
const MaxBeside = maxBeside
