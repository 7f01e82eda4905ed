package relay_test

import (
	"strings"
	"testing"
)

// The names of trailers that a request to port 80 announces, thousands of them in one line, are
// not kept while the visitor lets the answer's end wait for its body.
func TestPort80KeepsNoNamesOfTrailers(t *testing.T) {
	r := newRig(t, nil)
	_, addr := r.plain()
	r.device(newIdentity(t), "a.relay.test")
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var names strings.Builder
	for i := 0; names.Len() < 15<<10; i++ {
		names.WriteString("," + string([]byte{letters[i/36/36%36], letters[i/36%36], letters[i%36]}))
	}
	takes := func(head string) int64 {
		return heapOfVisitors(t, addr, 40, "GET / HTTP/1.1\r\nHost: a.relay.test\r\nTransfer-Encoding: chunked\r\n"+head+"\r\n", " 308 ")
	}
	takes("") // what is made once
	without, with := takes(""), takes("Trailer: "+names.String()[1:]+"\r\n")
	t.Logf("%d KiB, without %d KiB", with>>10, without>>10)
	if with > without+32<<10 {
		t.Errorf("with names of trailers a request takes %d KiB, without %d KiB", with>>10, without>>10)
	}
}
