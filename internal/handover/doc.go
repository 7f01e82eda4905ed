// Package handover carries a running relay's listening sockets, its names and
// its visitors to the process that replaces it.
//
// The running process listens on a unix socket of mode 0600; both ends check
// that the other is of the same user. Each line is a JSON object of at most 128
// KiB with a field "op"; a descriptor travels with the line that names it.
//
//	new process                     running process
//	takeover version, pid  ───────►
//	                       ◄───────  socket, with its descriptor; for each
//	                       ◄───────  names; as often as it takes
//	                       ◄───────  end
//	ready                  ───────►  everything is understood and open
//	                       ◄───────  go
//	serving                ───────►  from here on there is no way back
//	                       ◄───────  visitor, with its descriptor; until it closes
//
// Until "serving" has arrived the running process can go on as if nothing had
// been, and does so when the connection ends, is late, or brings "error" with a
// text. The new process takes no connection before it has sent "serving".
//
// It exists on Linux, macOS and FreeBSD.
package handover
