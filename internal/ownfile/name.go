package ownfile

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
)

// MaxName is the longest name of a file or folder, in bytes, that all systems
// take: NAME_MAX of Linux, macOS and the BSDs; Windows counts 255 characters.
const MaxName = 255

// Name returns name where it is the name of a file that every system takes. A
// longer one becomes the SHA-256 of the whole in hexadecimal, with the extension
// kept where there is room for it. A host name has up to 253 bytes, so that with
// an extension it may be too long.
func Name(name string) string {
	if len(name) <= MaxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	short := hex.EncodeToString(sum[:])
	if ext := filepath.Ext(name); len(short)+len(ext) <= MaxName {
		short += ext
	}
	return short
}
