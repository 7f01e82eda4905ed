package folder

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

const (
	// settled is how long after a change a file has no ETag: until then it may change
	// again without a sign, since the clock that stamps files ticks every 10 ms at
	// most.
	settled = 100 * time.Millisecond
	// settledCoarse is the same where the file system keeps whole seconds, or every
	// other one, as FAT does.
	settledCoarse = 2 * time.Second
	// settledDate is the same for Last-Modified, which has whole seconds (RFC 9110,
	// section 8.8.2.2).
	settledDate = time.Second
	// maxRanges is how many ranges a request may ask for. One with more gets all of
	// the file (RFC 9110, section 14.2).
	maxRanges = 16
)

// etag is the strong validator of a file in a coding (RFC 9110, section 8.8.3): it
// is another one whenever the content is. It is made of what the file system knows,
// and says nothing of that to visitors. The time of the last change of any kind is
// in it, since tools set the time of modification to what they like. It is empty
// for a file that has changed just now.
func etag(info fs.FileInfo, coding string, now time.Time) string {
	changed, number := change(info)
	unsure := settled
	if changed.Nanosecond() == 0 {
		unsure = settledCoarse
	}
	if age := now.Sub(changed); age >= 0 && age < unsure {
		return ""
	}
	b := make([]byte, 0, 64)
	for _, n := range []uint64{uint64(info.Size()), uint64(info.ModTime().UnixNano()), uint64(changed.UnixNano()), number} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	sum := sha256.Sum256(append(b, coding...))
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// lastModified is when a file was modified, or the zero time, which is none: where
// it may change again without a sign, or is from the future (RFC 9110, section
// 8.8.2.1).
func lastModified(info fs.FileInfo, now time.Time) time.Time {
	if at := info.ModTime(); now.Sub(at) >= settledDate {
		return at
	}
	return time.Time{}
}

// boundRanges takes the Range field away from a request that asks for too many.
func boundRanges(h http.Header) {
	if strings.Count(h.Get("Range"), ",") >= maxRanges {
		h.Del("Range")
	}
}
