// Package handover carries a running relay's listening sockets, its names and
// its visitors from this old process to a new one that replaces it.
//
// The old process listens on a unix socket of mode 0600; both ends check
// that the other is of the same user. Each line is a JSON object of at most 128
// KiB with a field "op"; a descriptor travels with the line that names it.
//
//	new process                     old process
//	takeover version, pid  ───────►
//	                       ◄───────  socket, with its descriptor; for each
//	                       ◄───────  names; as often as it takes
//	                       ◄───────  end
//	ready                  ───────►  everything is understood and open
//	                       ◄───────  go
//	serving                ───────►  from here on there is no way back
//	cut                    ───────►  what the old process is to cut too, with who has handed over to it; until it closes
//	                       ◄───────  visitor, with its descriptor; until it closes
//	claimed                ───────►  a name, and the run that has it now
//	missed                 ───────►  there were more than could be kept for it
//
// Until "serving" has arrived the old process can go on as if nothing had
// been, and does so when the connection ends, is late, or brings "error" with a
// text. The new process takes no connection before it has sent "serving".
//
// [Old] is what the old process does, and [New] what the new one does.
//
// It exists on Linux, macOS and FreeBSD.
package handover
