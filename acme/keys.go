package acme

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"keystay/internal/ownfile"
)

const (
	// keysFile is the record of keys, in Config.Dir.
	keysFile = "keys"
	// maxKeysFile is the longest record that is read, in bytes: 300,000 keys and more.
	maxKeysFile = 64 << 20
	// keysHead is the first line of the record, before the time at which it began.
	keysHead = "# keys that certificates were asked for, as SHA-256 of SubjectPublicKeyInfo; begun "
)

// Keys is the record of the keys that certificates were asked for, in a folder as
// Config.Dir: a line for each, with the time, the SHA-256 of the SubjectPublicKeyInfo in
// hexadecimal and the name. Lines are only ever added, each before its order goes out.
// Several processes may share a record. Make one with OpenKeys; its methods may be called
// from several goroutines.
type Keys struct {
	file string

	mu    sync.Mutex
	known map[[sha256.Size]byte]time.Time // when each was first noted
	since time.Time                       // when the record began
	read  int64                           // so many bytes of the file are in known
}

// OpenKeys returns the record in dir, which is begun with the first key where there is
// none.
func OpenKeys(dir string) *Keys {
	return &Keys{file: filepath.Join(dir, keysFile), known: make(map[[sha256.Size]byte]time.Time)}
}

// Note adds a key, unless it is there. The error is a *FileError.
func (k *Keys) Note(name string, key [sha256.Size]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.known[key]; ok {
		return nil
	}
	if err := k.noteLocked(name, key); err != nil {
		return &FileError{Path: k.file, Err: err}
	}
	return nil
}

func (k *Keys) noteLocked(name string, key [sha256.Size]byte) (err error) {
	if err := ownfile.MkdirAll(filepath.Dir(k.file)); err != nil {
		return err
	}
	if err := ownfile.NoPipe(k.file); err != nil {
		return err
	}
	f, err := os.OpenFile(k.file, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339)
	line := now + " " + hex.EncodeToString(key[:]) + " " + name + "\n"
	switch last := make([]byte, 1); {
	case info.Size() == 0:
		line = keysHead + now + "\n" + line
	default:
		if _, err := f.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
		if last[0] != '\n' { // the line before broke off
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil { // in one piece, so that processes do not mix
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	k.known[key] = time.Now()
	return nil
}

// Find reports whether a key is in the record, and since when. It reads what other
// processes have added. The error is a *FileError; a record that is not there is none.
func (k *Keys) Find(key [sha256.Size]byte) (since time.Time, known bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since, known = k.known[key]; known {
		return since, true, nil
	}
	if err := k.readLocked(); err != nil {
		return time.Time{}, false, err
	}
	since, known = k.known[key]
	return since, known, nil
}

// Since returns when the record began, and the zero time where there is none. The error
// is a *FileError.
func (k *Keys) Since() (time.Time, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.readLocked()
	return k.since, err
}

// readLocked takes in what was added to the file.
func (k *Keys) readLocked() error {
	err := k.readFile()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return &FileError{Path: k.file, Err: err}
	}
	return nil
}

func (k *Keys) readFile() error {
	if err := ownfile.NoPipe(k.file); err != nil {
		return err
	}
	f, err := os.Open(k.file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.Size() > maxKeysFile:
		return fmt.Errorf("it has more than %d bytes", maxKeysFile)
	case info.Size() < k.read: // it is another one
		k.read = 0
	}
	if _, err := f.Seek(k.read, io.SeekStart); err != nil {
		return err
	}
	r := bufio.NewReader(io.LimitReader(f, maxKeysFile))
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF { // what has no end yet is read again
			return nil
		}
		if err != nil {
			return err
		}
		k.read += int64(len(line))
		k.takeLine(strings.TrimSpace(line))
	}
}

// takeLine takes in one line. Text of another form is left out: an owner may write in
// the file.
func (k *Keys) takeLine(line string) {
	if begun, ok := strings.CutPrefix(line, keysHead); ok {
		if t, err := time.Parse(time.RFC3339, begun); err == nil && k.since.IsZero() {
			k.since = t
		}
		return
	}
	parts := strings.Fields(line)
	var at time.Time
	if len(parts) > 1 {
		if t, err := time.Parse(time.RFC3339, parts[0]); err == nil {
			at, parts = t, parts[1:]
		}
	}
	if len(parts) == 0 {
		return
	}
	b, err := hex.DecodeString(parts[0])
	if err != nil || len(b) != sha256.Size {
		return
	}
	key := [sha256.Size]byte(b)
	if _, ok := k.known[key]; !ok {
		k.known[key] = at
	}
}

// begin notes the keys of the certificates that are in the storage, where there is no
// record yet. Those that cannot be read are left out.
func (k *Keys) begin(certificates string) error {
	if _, err := os.Stat(k.file); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return filepath.WalkDir(certificates, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return &FileError{Path: path, Err: err}
		case e.IsDir() || filepath.Ext(path) != ".crt":
			return nil
		}
		b, err := ownfile.Read(path)
		if err != nil {
			return nil
		}
		block, _ := pem.Decode(bytes.TrimSpace(b))
		if block == nil {
			return nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return k.Note(strings.TrimSuffix(filepath.Base(path), ".crt"), keyOf(cert))
	})
}

// keyOf returns the SHA-256 of a certificate's SubjectPublicKeyInfo.
func keyOf(cert *x509.Certificate) [sha256.Size]byte {
	return sha256.Sum256(cert.RawSubjectPublicKeyInfo)
}
