package page_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"keystay/internal/page"
)

func ExamplePage_Write() {
	notHere := page.Page{Status: http.StatusNotFound, Title: "There is nothing here", Text: "No page has this address."}
	w := httptest.NewRecorder()
	notHere.Write(w, httptest.NewRequest("GET", "/", nil))
	fmt.Print(w.Body)
	// Output:
	// 404 Not Found
	//
	// There is nothing here.
	//
	// No page has this address.
}
