package sni_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A wire is a connection that delivers what r does and swallows what is
// written to it.
type wire struct {
	net.Conn
	r        io.Reader
	deadline time.Time // the last read deadline set
}

func (w *wire) Read(p []byte) (int, error)        { return w.r.Read(p) }
func (w *wire) Write(p []byte) (int, error)       { return len(p), nil }
func (w *wire) SetReadDeadline(t time.Time) error { w.deadline = t; return nil }
func (w *wire) SetWriteDeadline(time.Time) error  { return nil }
func (w *wire) Close() error                      { return nil }

var errSeen = errors.New("hello seen")

// secondOpinion lets crypto/tls read b and then EOF. The hello is nil if it
// found none, and err says why.
func secondOpinion(b []byte) (hello *tls.ClientHelloInfo, err error) {
	err = tls.Server(&wire{r: bytes.NewReader(b)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = h
			return nil, errSeen
		},
	}).Handshake()
	return hello, err
}

// golden returns the recorded hellos of testdata, by file name.
func golden(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded hellos in testdata: %v", err)
	}
	hellos := make(map[string][]byte)
	for _, f := range files {
		if hellos[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return hellos
}

// corpusFile holds 2,411 hellos from browsers and fuzzing corpora. It is not
// part of the repository.
const corpusFile = "../../shared/hellos.tar.gz"

// corpus returns the golden hellos and those of corpusFile, if it is there, in
// a fixed order.
func corpus(t testing.TB) [][]byte {
	t.Helper()
	var hellos [][]byte
	for _, c := range goldenHellos {
		hellos = append(hellos, golden(t)[c.file])
	}
	f, err := os.Open(corpusFile)
	if errors.Is(err, os.ErrNotExist) {
		t.Logf("%s is not here: only the %d hellos of testdata are tested", corpusFile, len(hellos))
		return hellos
	} else if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return hellos
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		hellos = append(hellos, b)
	}
}

// Hellos by hand.

func u16(n int) []byte { return []byte{byte(n >> 8), byte(n)} }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func vec8(parts ...[]byte) []byte  { b := cat(parts...); return cat([]byte{byte(len(b))}, b) }
func vec16(parts ...[]byte) []byte { b := cat(parts...); return cat(u16(len(b)), b) }

func ext(typ int, data ...[]byte) []byte { return cat(u16(typ), vec16(data...)) }

// entry is one name of a server_name extension.
func entry(typ byte, name string) []byte { return cat([]byte{typ}, vec16([]byte(name))) }

func serverName(name string) []byte { return ext(0, vec16(entry(0, name))) }

// message is a ClientHello message with these extensions.
func message(exts ...[]byte) []byte {
	body := cat([]byte{3, 3}, make([]byte, 32), vec8(), vec16([]byte{0x13, 1}), vec8([]byte{0}), vec16(exts...))
	return handshake(1, body)
}

func handshake(typ byte, body []byte) []byte {
	return cat([]byte{typ, byte(len(body) >> 16)}, u16(len(body)), body)
}

func record(typ byte, payload ...[]byte) []byte {
	return cat([]byte{typ, 3, 1}, vec16(payload...))
}

// split puts msg in records of at most size bytes.
func split(msg []byte, size int) []byte {
	var out []byte
	for len(msg) > 0 {
		n := min(size, len(msg))
		out = append(out, record(22, msg[:n])...)
		msg = msg[n:]
	}
	return out
}
