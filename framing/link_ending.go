package framing

import (
	"errors"
	"io"
)

// Ending says how a link has ended, for people: it puts what [Link.Err] returned
// into words.
func Ending(err error) string {
	switch {
	case err == nil:
		return "it has not ended"
	case errors.Is(err, ErrClosed):
		return "closed by this side"
	case err == io.EOF:
		return "closed by the other side"
	}
	return err.Error()
}
