// Package relays takes a relay out of a published list. It fetches the list and decides
// whether it is to be trusted, asks all of its relays at once what they say of
// themselves, ranks them for the names that a device wants, and keeps which one was
// taken. It serves nothing: package remote does.
package relays
