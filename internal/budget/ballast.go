package budget

import "os"

const (
	// maxBallast is the longest ballast, and one in ballastPart the part of the memory
	// that it may have.
	maxBallast  = 16 << 20
	ballastPart = 32
)

// Ballast returns memory that nothing is ever written to, so that the system has to
// give none for it: 16 MiB, or less where Available says less than 512 MiB. The
// runtime collects garbage when there is as much as what is in use, and as long as a
// program has the ballast, that counts as in use. Else a program of a few MiB, of which
// each request makes some KiB of garbage, would collect ten times a second, and these
// requests would wait for it. The most that it costs is its length in garbage.
//
// Where whoever runs the program has set GOGC, it is left to that: Ballast returns nil.
func Ballast() []byte {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	available, _ := Available()
	return make([]byte, min(maxBallast, available/ballastPart))
}
