// Package page is the operator's page: the remotes, names, tokens and bans of the relay
// and how busy it is, with the levers for whoever signs in.
//
// [Page] is an http.Handler for the admin address. All that it shows and does it asks
// of the control API within the process, so each lever has the checks of the API and
// stands in the audit log, with the name of whoever is signed in. The page works
// without script; with script it is live.
//
// All that the page makes the process hold is bounded: sessions, live viewers,
// renderings at once, rows of a page, samples of the graphs. Each bound stands beside
// its rule.
package page
