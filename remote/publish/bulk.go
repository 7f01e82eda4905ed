package publish

import "net/http"

const (
	// bulkAfter is how many bytes of an answer are written when the rest of it counts as
	// bulk.
	bulkAfter = 256 << 10
	// bulkPiece is how much of the rest is read at once. ReverseProxy reads half of
	// that, and where an answer has no length net/http makes three records of TLS out
	// of each piece.
	bulkPiece = 64 << 10
	// bulkTLS is what TLS and the chunks of HTTP/1.1 add to a piece at most.
	bulkTLS = 2 << 10
	// bulkCost is the memory that an answer in bulk takes of Budgets.requests.
	bulkCost = 2*bulkPiece + bulkTLS
)

// A bulkBuffer is a piece of an answer in bulk, and what TLS has made of it.
type bulkBuffer struct {
	piece  [bulkPiece]byte
	sealed [bulkPiece + bulkTLS]byte
}

// A corker is a stream that can keep what is written until it is to go as one.
type corker interface {
	Cork(space []byte)
	Uncork() error
}

// copyBulk hands on the rest of an answer over HTTP/1.1, in larger pieces, of which
// each goes to the relay as one. Where there is no memory for that it does nothing. The
// body keeps how the answer has ended, for its next Read.
func (x *exchange) copyBulk() error {
	c, ok := x.stream.(corker)
	if !ok || x.body == nil || x.visitor == nil || x.visit.memory.Take(bulkCost, bulkCost) < bulkCost {
		return nil
	}
	defer x.visit.memory.Put(bulkCost)
	pool := &x.visit.budgets.bulk
	b, ok := pool.Get().(*bulkBuffer)
	if !ok {
		b = new(bulkBuffer)
	}
	defer pool.Put(b)
	for x.body.end == nil {
		n, err := x.body.Read(b.piece[:])
		x.body.end = err
		if n == 0 {
			continue
		}
		c.Cork(b.sealed[:])
		_, err = x.write(b.piece[:n])
		if err == nil && !x.service.holds(x.body.read) {
			x.unflushed = false
			err = http.NewResponseController(x.ResponseWriter).Flush()
		}
		if uncorked := c.Uncork(); err == nil {
			err = uncorked
		}
		if err != nil {
			return err
		}
	}
	return nil
}
