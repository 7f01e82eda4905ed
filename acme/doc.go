// Package acme keeps certificates for names whose ports this machine does not own.
//
// A [Keeper] obtains, stores, serves and renews certificates by ACME
// (RFC 8555). It never listens anywhere: the CA's validation is expected to
// arrive over connections that the caller accepts by whatever means it has,
// and is answered from memory by [Keeper.TLSConfig] (tls-alpn-01, RFC 8737) or
// [Keeper.HTTPChallenge] (http-01, RFC 8555 section 8.3). Behind a relay those
// connections are streams of a session, so an order waits for
// [Config.Ready] before it starts, and a [Rehearsal] looks for the answer before the
// CA is asked to.
//
// [Files] serves a certificate that was brought along instead.
//
// certmagic makes the keys and requests, stores the results and holds the
// locks; its issuer interface is answered here with acmez, certmagic's own
// ACME client, for what its stock issuer cannot do without a port of its own,
// without asking on standard input and without losing the CA's Retry-After. When
// to renew, ARI among it, is decided here as well, since an order has to wait for
// a session. acmez alone would leave to this package what certmagic has had years
// of use for: the layout of the storage, writes that a crash cannot halve, keys
// and their encoding, requests, locks between processes, and obtaining a
// certificate at most once.
package acme
