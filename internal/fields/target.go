package fields

import "slices"

// OfMethod reports whether a field of a request, in any spelling, names the method that it
// is to be taken for: frameworks heed these where clients know GET and POST alone.
func OfMethod(name string) bool {
	return slices.ContainsFunc([]string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}, func(o string) bool { return Same(o, name) })
}

// OfSource reports whether a field of a request, in any spelling, names what is to be copied
// or moved to its path, or what is to be found there: X-Amz-Copy-Source of S3, and the like of
// other storages.
func OfSource(name string) bool {
	return endsAs(name, "-Copy-Source", "-Rename-Source", "-Copy-From", "-Symlink-Target")
}

// OfAccount reports whether a field of a request, in any spelling, says in which account of
// Swift the path is that a Destination or a field of [OfSource] names.
func OfAccount(name string) bool {
	return Same(name, "Destination-Account") || endsAs(name, "-Copy-From-Account", "-Symlink-Target-Account")
}

// OfManifest reports whether a field of a request, in any spelling, says how the paths begin
// that are to be found at its path, all of them together, as Swift has it.
func OfManifest(name string) bool { return Same(name, "X-Object-Manifest") }

// endsAs reports whether a name ends as one of some, in any spelling, and has more before it.
func endsAs(name string, ends ...string) bool {
	return slices.ContainsFunc(ends, func(end string) bool {
		return len(name) > len(end) && Same(name[len(name)-len(end):], end)
	})
}
