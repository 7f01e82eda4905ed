package ownfile_test

import (
	"fmt"

	"keystay/internal/ownfile"
)

// A file that Windows' shell has written, with a byte order mark and in UTF-16.
func ExampleText() {
	fmt.Printf("%q\n", ownfile.Text([]byte("\xff\xfed\x00o\x00m\x00a\x00i\x00n\x00")))
	fmt.Printf("%q\n", ownfile.Text([]byte("domain")))
	// Output:
	// "domain"
	// "domain"
}
