package urlpath_test

import (
	"fmt"

	"keystay/internal/urlpath"
)

func ExampleClean() {
	fmt.Println(urlpath.Clean("/api/a%20b"))
	fmt.Println(urlpath.Clean("/public/..;/%61pi"))
	// Output:
	// /api/a b true
	// /api false
}
