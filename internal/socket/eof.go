package socket

import "io"

// NoEOF returns err, but for io.EOF it returns io.ErrUnexpectedEOF: the connection has
// ended in the middle of something.
func NoEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
