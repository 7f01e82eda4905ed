// Package remote publishes a device behind NAT under a real HTTPS name.
//
// [Listen] dials a relay, proves the device's identity, claims a name, obtains
// the certificate for it, and returns a net.Listener of the visitors'
// connections, with TLS ended here:
//
//	ln, err := remote.Listen(remote.Config{Domain: "xyz.relay.net", StateDir: dir})
//	if err != nil { … }
//	http.Serve(ln, handler)
//
// A [Device] is the long form: one run of one identity with many names, which share
// its links and come and go while it runs. See [Open] and Device.Listen.
//
// No port is opened, and the private key never leaves the state directory.
// Package publish hands the visitors of a listener on to a local service.
//
// The files sort by what they belong to: device_ is the run of one identity,
// link_ how its links to the relays are kept (device.go begins with that story),
// node_ on which machines of a relay they are, lane_ the connections beside a link for
// bulk, listener_ a public name with its certificate and visitors, state_ the files of
// the state directory.
package remote
