package budget

import "os"

const (
	// maxBallast is the longest ballast, in bytes, and one in ballastPart the part of
	// the memory that it may have.
	maxBallast  = 16 << 20
	ballastPart = 32
)

// Ballast returns memory for the caller to keep, and never to write to, so that the
// system has to give none for it: 16 MiB, or less where Available says less than
// 512 MiB. The runtime collects garbage when there is as much of it as is in use, and
// the ballast counts as in use while it is kept. Without it a program of a few MiB
// would collect ten times a second where each request makes some KiB of garbage, and
// the requests would wait for that. Up to the ballast's length more garbage is the
// price. Where GOGC is set in the environment, Ballast returns nil and leaves it to
// that.
func Ballast() []byte {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	available, _ := Available()
	return make([]byte, min(maxBallast, available/ballastPart))
}
