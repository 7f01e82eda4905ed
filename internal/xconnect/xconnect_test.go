package xconnect_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	_ "keystay/internal/xconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server of a program that imports the package says that it takes extended
// CONNECT.
func TestServersSayThatTheyTakeExtendedConnect(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	c, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	f, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	if on, _ := f.(*http2.SettingsFrame).Value(http2.SettingEnableConnectProtocol); on != 1 {
		t.Error("it does not")
	}
}
