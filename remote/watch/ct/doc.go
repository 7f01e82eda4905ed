// Package ct looks in certificate transparency for certificates of the device's names
// whose keys are not the device's.
//
// A CA that browsers trust publishes each certificate in logs (RFC 6962), which monitors
// read. A Watch asks one of them, in the form of Cert Spotter's API v1, once an hour for
// each name, for the certificates that are new. It compares the key in the certificate
// itself with the keys that the device has asked certificates for; nothing else that the
// monitor says counts.
//
// A monitor that leaves out what is wrong looks like one that has nothing to tell. So the
// device's own newest certificate is the test signal: where that does not show up within
// a day, the watch says that it does not work. A monitor that shows the device's
// certificates and hides others is not found out.
package ct
