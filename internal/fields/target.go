package fields

import "slices"

// OfMethod reports whether a field of a request, in any spelling, names the method that it
// is to be taken for: frameworks heed these where clients know GET and POST alone.
func OfMethod(name string) bool {
	return slices.ContainsFunc([]string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"}, func(o string) bool { return Same(o, name) })
}

// OfSource reports whether a field of a request, in any spelling, names what is to be copied
// or moved to its path: X-Amz-Copy-Source of S3, and the like of other storages.
func OfSource(name string) bool {
	return slices.ContainsFunc([]string{"-Copy-Source", "-Rename-Source", "-Copy-From"}, func(end string) bool {
		return len(name) > len(end) && Same(name[len(name)-len(end):], end)
	})
}
