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

// MaxBetween is maxBetween, for tests.
const MaxBetween = maxBetween

// Kept is how many bytes of certificates a result keeps.
func (r *Result) Kept() (size int) {
	for _, der := range r.chain {
		size += len(der)
	}
	return size
}

// MaxEvidenceSize is maxEvidenceSize, for tests.
const MaxEvidenceSize = maxEvidenceSize
