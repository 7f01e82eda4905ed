package config

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"keystay/internal/hint"
)

// A servedFolder is a folder that is published.
type servedFolder struct {
	at    string // the key that says it
	typed string // as it is said there
	path  string // the whole path
}

// A secretPlace is a file that nobody else may read.
type secretPlace struct{ what, path string }

// secretsKept reports folders from which visitors could get a secret of the remote: its
// state directory, or a file that the configuration names. Paths and gates in front of
// the folder make no difference: who may pass these may not have the secret either.
func (r *serviceReader) secretsKept() {
	state := r.remote.StateDir
	inState, stateErr := os.Stat(state)
	files := r.secretFiles()
	for _, f := range r.folders {
		dir, err := os.Stat(f.path)
		if err != nil {
			continue // it is reported
		}
		wrong := func(what, path string, advice *hint.Advice) {
			r.errs.add(f.at, "visitors of the folder "+quote(f.typed)+" would get at "+what+" "+quote(path), advice.With()...)
		}
		if state != "" && (isIn(state, dir, true) || stateErr == nil && isIn(f.path, inState, false)) {
			wrong("the state directory", state, hint.FolderState)
			continue
		}
		for _, s := range files {
			if isIn(s.path, dir, true) {
				wrong(s.what, s.path, hint.FolderSecret)
				break
			}
		}
	}
}

// secretFiles are the files with a secret that the configuration names, and its own one if
// there is a secret in it.
func (r *serviceReader) secretFiles() (files []secretPlace) {
	add := func(what, path string) {
		if path != "" {
			files = append(files, secretPlace{what, path})
		}
	}
	add("the file of the token", r.remote.TokenFile)
	inside := r.src.file != nil && r.src.file.hasSecret()
	for _, s := range r.remote.Services {
		add("the private key", s.Key)
		for _, g := range s.Gates {
			add("the file of passwords", g.PasswordFile)
			if g.OIDC != nil {
				add("the file of the client's secret", g.OIDC.ClientSecretFile)
			}
			inside = inside || r.inFile() && len(g.Passwords) > 0
		}
		for _, route := range s.Routes { // a header may sign in
			inside = inside || r.inFile() && len(route.Request.Set) > 0
		}
	}
	if inside {
		add("the configuration with its secrets", r.src.file.name)
	}
	return files
}

// hasSecret reports whether a key outside services has a secret in the file, be it
// overruled by a flag. The URL of a proxy is one if it has a password.
func (f *file) hasSecret() bool {
	for _, k := range f.keys {
		if !k.Secret {
			continue
		}
		in, key := block{"", f.values}, k.Name
		for level, rest, ok := strings.Cut(key, "."); ok; level, rest, ok = strings.Cut(key, ".") {
			in, key = in.group(level), rest
		}
		for _, v := range append(in.list(key), in.text(key)) {
			if v != "" && (key != "proxy" || strings.Contains(v, "@")) {
				return true
			}
		}
	}
	return false
}

// isIn reports whether path is dir or in it, wherever symbolic links lead, in the eyes of
// the system, which may take capital and small letters for the same. What has a name in
// dir, or on the way to it from there, that begins with a dot is not in it if shown is
// set: it is never served.
func isIn(path string, dir os.FileInfo, shown bool) bool {
	for at := resolved(path); ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && os.SameFile(info, dir) {
			return true
		}
		if filepath.Dir(at) == at || shown && strings.HasPrefix(filepath.Base(at), ".") {
			return false
		}
	}
}

// resolved returns the whole path without symbolic links, as far as what it names is there.
func resolved(path string) string {
	switch wd, err := os.Getwd(); {
	case runtime.GOOS == "windows":
		path, _ = filepath.Abs(path)
	case err == nil && !filepath.IsAbs(path):
		path = wd + "/" + path // not joined: what .. leads to behind a link is for the system to say
	}
	rest := ""
	for at := path; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if filepath.Dir(at) == at {
			return filepath.Clean(path)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}
