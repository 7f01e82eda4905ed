//go:build !unix

package screen

import "os"

func guard(*os.File, string) (release func()) { return func() {} }

// StandGuard has nothing to do here.
func StandGuard() {}
