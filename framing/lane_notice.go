package framing

const (
	// bulkAgain is for a stream that has no lane yet: Handler.Bulk is called again
	// each time that the stream has carried so many times as much as at the call
	// before.
	bulkAgain = 4
	// chattyAfter is how many answers there are between two calls of
	// Handler.Chatty.
	chattyAfter = 8
)

// notices is what decides whether a stream is worth a lane. It is guarded by the
// stream's lock.
type notices struct {
	at        int64 // bytes in one direction, for the next Handler.Bulk
	spoke     bool  // data was sent, and none has come since
	exchanges int   // data has come after data was sent, since Handler.Chatty
}

// sent notes that data was sent.
func (n *notices) sent() { n.spoke = true }

// came notes that data has come.
func (n *notices) came() {
	if n.spoke {
		n.spoke = false
		n.exchanges++
	}
}

// due says which functions of the handler are to be called now, for a stream that
// has carried so many bytes in one direction and has no lane.
func (n *notices) due(h *Handler, carried int64) (bulk, chatty bool) {
	carried = max(carried, 1)
	if bulk = h.Bulk != nil && carried >= max(n.at, h.BulkAfter); bulk {
		n.at = bulkAgain * carried
	}
	if chatty = h.Chatty != nil && n.exchanges >= chattyAfter; chatty {
		n.exchanges = 0
	}
	return bulk, chatty
}
