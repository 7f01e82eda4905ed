//go:build !linux

package duplex

import (
	"syscall"
	"time"
)

// A Rest is nothing on this system: each direction waits by itself.
type Rest struct{ after time.Duration }

// NewRest returns nil.
func NewRest(time.Duration) *Rest { return nil }

// Wake does nothing.
func (r *Rest) Wake() {}

// Close does nothing.
func (r *Rest) Close() {}

func (r *Rest) take(*direction, syscall.RawConn) bool { return false }

func (r *Rest) leave(*direction) bool { return false }
