package probe_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"keystay/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWithoutAConnectionThereIsNoExporter(t *testing.T) {
	if e, err := probe.ExporterOf(&tls.ConnectionState{}); err == nil {
		t.Errorf("%x", e)
	}
}

func ExampleExporterOf() {
	_, err := probe.ExporterOf(&tls.ConnectionState{Version: tls.VersionTLS12})
	fmt.Println(err != nil)
	// Output: true
}
