// Package inspect shows the requests that visitors make and the answers that they get,
// on a page for whoever sits at the device, while they happen.
//
// An [Inspector] stands behind a gate and before the routes of a name, as
// publish.SiteConfig.Inspect has it, and keeps copies of what passes: heads, bodies up
// to a limit, and the messages of WebSockets, event streams and gRPC. It changes
// nothing, waits for nobody, and keeps within one budget of memory: the oldest go first.
// It knows nothing of links.
//
// [Start] serves the page on a loopback address, below a random token. Whoever has the
// token reads all that is kept, secrets of visitors too, and may repeat requests to the
// services of the remote, and to nothing else.
package inspect
