package signin_test

import (
	"fmt"
	"net/netip"

	"keystay/internal/signin"
)

func Example() {
	users, err := signin.Parse([]byte("ada:$2a$10$yEaF3A3UFYVdrkryu01TsOHac7/FGRqymxPKK8lOec5EH9RqeNyKO\n"))
	if err != nil {
		panic(err)
	}
	guesses := signin.NewGuesses()
	from := netip.MustParseAddr("192.0.2.1")
	fmt.Println(guesses.Take(from), users.Check("ada", "wind"))
	fmt.Println(guesses.Take(from), users.Check("ada", "rain"))
	// Output:
	// 0s true
	// 0s false
}
