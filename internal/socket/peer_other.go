//go:build !(linux || darwin || freebsd)

package socket

import (
	"errors"
	"net"
)

// PeerUID cannot tell on this system: the error wraps errors.ErrUnsupported.
func PeerUID(*net.UnixConn) (uid int, err error) { return 0, errors.ErrUnsupported }
