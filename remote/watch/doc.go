// Package watch looks whether anybody listens in on the public names of a device, and
// raises the alarm.
//
// It dials each name as a visitor does, over the internet and not over the device's links,
// with the hello of a browser, and compares what it meets with what the device holds: the
// key of the certificate, and the TLS exporter of the connection at both ends. It shares
// no code with what serves the name.
//
// It detects, and prevents nothing: docs/threat-model.md says what it cannot see.
package watch
