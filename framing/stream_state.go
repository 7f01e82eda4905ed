package framing

// A half is how far one direction of a stream has come. What goes and what comes
// have one each.
//
//	halfOpen ──► halfEnded
//	    │
//	    └──────► halfMoved ──► halfMovedEnded
//
// All pairs of the two halves may be, but what comes is never halfMovedEnded: the
// end of what comes on a lane is the lane's own, and a Read finds it. As long as
// there is no lane, neither half is halfMoved.
type half uint8

const (
	halfOpen       half = iota // on the stream, and not ended
	halfEnded                  // END is queued, or has come
	halfMoved                  // SWITCH is queued, or has come: the lane carries the rest
	halfMovedEnded             // and this side has ended it there
)

// moved reports whether the lane carries, or carried, the rest.
func (h half) moved() bool { return h >= halfMoved }

// ended reports whether no more can come after what there is.
func (h half) ended() bool { return h == halfEnded || h == halfMovedEnded }

// A state is how far a stream has come. It is guarded by the stream's lock.
type state struct {
	recv   half  // what comes
	send   half  // what goes
	closed bool  // Close or Reset was called
	owed   bool  // END is to come behind what has come, though recv has moved: see Stream.Take
	cause  error // why both directions are over at once: reset, or the link lost
	wire   wireState
}

// endedLocked reports whether both directions have ended, or moved. The other side
// may send smux's FIN as soon as it has our END. That can be before written is called
// for the END.
func (s *state) endedLocked() bool {
	return s.recv != halfOpen && s.send != halfOpen && !s.owed
}

// overLocked reports whether nothing of the stream is left to move.
func (s *state) overLocked() bool {
	return s.cause != nil || s.closed || s.wire != wireOpen || s.recv.ended() && s.send.ended()
}

// A wireState is how far a stream's end has come in the session. It only grows.
// A stream whose halves are not both over, and that has no cause, is in wireOpen.
type wireState uint8

const (
	wireOpen    wireState = iota
	wireEnding            // FIN is about to be queued: nothing else of the stream is any more
	wireEnded             // FIN is queued, and the link has forgotten the stream's id
	wireRemoved           // what had come is read, or never will be: the link has forgotten the stream
)

// An rstState is how far a RESET of this side has come. Its stream has a cause,
// or is closed, and stays in wireOpen until the RESET is written: FIN must not
// overtake it.
type rstState uint8

const (
	rstNone   rstState = iota // there is none, or it is written
	rstQueued                 // it is in outgoing.frames
	rstPut                    // it is in what writeOut has put to the connection
)
