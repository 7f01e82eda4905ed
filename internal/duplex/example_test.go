package duplex_test

import (
	"fmt"
	"io"
	"time"

	"keystay/internal/duplex"
	"keystay/internal/memconn"
)

func ExampleCopy() {
	visitor, a := memconn.Pipe(0)
	service, b := memconn.Pipe(0)
	go func() {
		io.WriteString(visitor, "question")
		visitor.CloseWrite()
	}()
	go func() {
		io.Copy(io.Discard, service) // to the end of the question
		io.WriteString(service, "the answer")
		service.Close()
	}()
	res := duplex.Copy(a, b, duplex.Options{Idle: time.Hour, Linger: time.Minute})
	answer, err := io.ReadAll(visitor)
	fmt.Println(res.AtoB, res.BtoA, res.Err, string(answer), err)
	// Output: 8 10 <nil> the answer <nil>
}
