package cluster

import (
	"fmt"
	"os"
	"sync/atomic"
)

// places are so many at once of something. The zero value has none taken.
type places struct{ taken atomic.Int64 }

// enter takes a place where there is one of most.
func (p *places) enter(most int64) bool {
	if p.taken.Add(1) <= most {
		return true
	}
	p.taken.Add(-1)
	return false
}

func (p *places) leave() { p.taken.Add(-1) }

// ReadRecordKey reads the key of the record from a file.
func ReadRecordKey(file string) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) != RecordKeySize {
		err = fmt.Errorf("%s has %d bytes and not %d", file, len(key), RecordKeySize)
	}
	return key, err
}
