package e2e

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// caCommand is the command
//
//	ca down                   cut every request to the CA's API
//	ca up                     answer again
//	ca delay DURATION         answer that much later
//	ca tls-alpn HOST:PORT|-   where validations by TLS-ALPN-01 go; - is nowhere
//	ca http HOST:PORT|-       where those by HTTP-01 go
//	ca caa HOST:PORT|-        keep to the CAA records of that DNS server; - is not at all
//	ca orders NAME N          the name was ordered N times so far
//	ca replaced NAME N        N of these orders said what they replace
func caCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 || len(args) > 3 {
		ts.Fatalf("usage: ca VERB [ARG...]")
	}
	args = append(args, "", "")
	ca := settingOf(ts).ca
	where := strings.TrimPrefix(args[1], "-")
	switch args[0] {
	case "down":
		ca.SetDown(true)
	case "up":
		ca.SetDown(false)
	case "delay":
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		ca.SetDelay(d)
	case "tls-alpn":
		ca.SetTLSTarget(where)
	case "http":
		ca.SetHTTPTarget(where)
	case "caa":
		ca.SetCAA(where)
	case "orders", "replaced":
		expected, err := strconv.Atoi(args[2])
		ts.Check(err)
		n := 0
		for _, o := range ca.Orders() {
			if slices.Contains(o.Names, args[1]) && (args[0] == "orders" || o.Replaces != "") {
				n++
			}
		}
		if n != expected {
			ts.Fatalf("%s: %d %s, expected %d", args[1], n, args[0], expected)
		}
	default:
		ts.Fatalf("the CA cannot %s", args[0])
	}
}

// expire is the command
//
//	expire DIR
//
// It replaces every certificate below the folder by one that expired a month
// ago and is the same otherwise, as if the device had slept.
func expire(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expire DIR")
	}
	n := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".crt") {
			n++
			return expireFile(path)
		}
		return err
	}))
	if n == 0 {
		ts.Fatalf("no certificate below %s", args[0])
	}
}

func expireFile(path string) error {
	pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".crt")+".key")
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("its key is of another kind")
	}
	const month = 30 * 24 * time.Hour
	old := *pair.Leaf
	old.NotBefore, old.NotAfter = time.Now().Add(-4*month), time.Now().Add(-month)
	der, err := x509.CreateCertificate(rand.Reader, &old, &old, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

// copyFolder is the command
//
//	copy DIR DIR
//
// It copies a state directory as it stands, with the sockets of the runs in it: cp does.
func copyFolder(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: copy DIR DIR")
	}
	ts.Check(ts.Exec("cp", "-a", ts.MkAbs(args[0]), ts.MkAbs(args[1])))
}

// private is the command
//
//	private DIR
//
// Every folder in it, and itself, must have mode 0700 and every file 0600.
func private(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: private DIR")
	}
	files := 0
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if e.IsDir() {
			mode = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != mode {
			ts.Fatalf("%s has mode %v, expected %v", path, info.Mode().Perm(), mode)
		}
		return nil
	}))
	if files == 0 {
		ts.Fatalf("no file in %s", args[0])
	}
}
