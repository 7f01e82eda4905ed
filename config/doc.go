// Package config reads what the two programs are told and says what is wrong with it.
//
// [LoadRelay] and [LoadRemote] join four sources, each stronger than the next:
// flag, environment, file, default. The result is one documented struct for
// each program, checked as a whole; every problem found is reported at once,
// with the line of the file (or the flag, or the variable) it came from and a
// hint, as [Errors].
//
// # Environment
//
// A variable is the program's prefix, KEYSTAY_RELAY_ or KEYSTAY_REMOTE_, and
// the key in capitals with dots and dashes as underscores: log.level of the
// relay is KEYSTAY_RELAY_LOG_LEVEL. Lists are separated by commas. A variable
// that is set but empty counts as not set, so that a template with blank lines
// is harmless; what can be turned off is turned off in the file or with an
// empty flag. A variable with the program's own prefix that is no key is an
// error. The other program's variables are ignored, so one file of variables
// can serve both, and so are those that Kubernetes sets for a service of that
// name.
//
// # File
//
// The file of either program is strict YAML: one document, a map, at most [MaxFile]
// bytes, no anchors or aliases, no key twice, no unknown key at any depth,
// text where text belongs and a list where a list belongs, but that one text may
// stand for a list of one where the remote's file has that. The services of a remote
// are in the file or in flags and variables, and never in both. Relative paths
// written in the file start at the file's own folder; those in flags and
// variables start at the working directory.
package config
