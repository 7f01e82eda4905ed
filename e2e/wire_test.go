package e2e

import (
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"keystay/e2e/internal/world"
)

// wireCommand is the command
//
//	wire NAME to HOST:PORT   lay a wire and set $NAME to its end
//	wire NAME silent         swallow everything, as a cut cable does: no FIN, no RST
//	wire NAME heard          carry on, also what was swallowed
//	wire NAME cut            reset every connection
//	wire NAME slice N        write no more than N bytes at once
func wireCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: wire NAME to|silent|heard|cut|slice [ARG]")
	}
	w := settingOf(ts)
	l := w.wires[args[0]]
	if l == nil && (args[1] != "to" || len(args) != 3) {
		ts.Fatalf("no wire is called %s", args[0])
	}
	switch args[1] {
	case "to":
		l, err := world.LaunchProxy("127.0.0.1:0", args[2])
		ts.Check(err)
		w.wires[args[0]] = l
		ts.Setenv(args[0], l.Addr)
	case "silent":
		l.Hold()
	case "heard":
		l.Release()
	case "cut":
		l.Cut()
	case "slice":
		n, err := strconv.ParseInt(args[2], 10, 64)
		ts.Check(err)
		l.Slice.Store(n)
	default:
		ts.Fatalf("a wire cannot be %s", args[1])
	}
}
