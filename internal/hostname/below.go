package hostname

import "strings"

// IsBelow reports whether a name is below a zone, at any depth; a zone is not below
// itself. Both are in their normal forms.
func IsBelow(name, zone string) bool { return strings.HasSuffix(name, "."+zone) }
