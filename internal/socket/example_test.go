package socket_test

import (
	"fmt"
	"io"
	"strings"

	"keystay/internal/socket"
)

// Two bytes were announced, and none has come.
func ExampleNoEOF() {
	_, err := io.ReadFull(strings.NewReader(""), make([]byte, 2))
	fmt.Println(err, "/", socket.NoEOF(err))
	// Output: EOF / unexpected EOF
}
