package gate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"keystay/remote/publish/gate"
)

func Example() {
	store, err := gate.Open("") // a state directory, where it is to last
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := gate.ParsePasswords([]byte("ada:$2a$10$yEaF3A3UFYVdrkryu01TsOHac7/FGRqymxPKK8lOec5EH9RqeNyKO\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := gate.New(gate.Config{Name: "xyz.relay.net", Store: store, Rules: []gate.Rule{{Paths: []string{"/private"}, Passwords: users}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "the service") }))
	for _, path := range []string{"/", "/private/diary"} {
		r := httptest.NewRequest("GET", "https://xyz.relay.net"+path, nil)
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// 200 the service
	// 401 Sign in first: https://xyz.relay.net/.well-known/keystay/sign-in
}
