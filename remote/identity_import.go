package remote

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// maxExportRun is the highest run number of an export: enough are left behind it for
// all further exports and starts.
const maxExportRun = 1 << 62

// ErrImport is wrapped by the error of what cannot be imported as it is asked for: a
// file that is no export, or that another passphrase opens, and a state directory that
// has an identity.
var ErrImport = errors.New("nothing was imported")

// notImported is an error that wraps ErrImport.
type notImported struct{ text string }

func (e *notImported) Error() string        { return e.text }
func (e *notImported) Is(target error) bool { return target == ErrImport }

func notImportedf(format string, args ...any) error {
	return &notImported{fmt.Sprintf(format, args...)}
}

// maxImportWork is the largest work factor that an import takes: more than that of
// an export, in case that grows. It is 1 GiB.
const maxImportWork = 20

// ImportIdentity reads what ExportIdentity has written into a state directory, which
// it makes if need be, with modes 0700 and 0600: all of it or nothing. The next run
// from there replaces those of the machine that it comes from.
//
// Where an identity is there already, nothing is imported; but with replace all that
// belongs to it is kept in a folder below the state directory, whose path is returned.
// An error is for people, with hints.
func ImportIdentity(stateDir string, r io.Reader, passphrase string, replace bool) (info IdentityInfo, aside string, err error) {
	files, err := openExport(r, passphrase)
	if err != nil {
		return info, "", err
	}
	s, unlock, err := lockState(stateDir)
	if err != nil {
		return info, "", err
	}
	defer unlock()
	if aside, err = s.stage(files, replace); err == nil {
		err = s.finishImport()
	}
	if err == nil {
		err = s.readIdentity()
	}
	if err != nil {
		return info, "", err
	}
	if aside != "" {
		aside = s.path(aside)
	}
	info, err = s.info()
	return info, aside, err
}

// openExport decrypts and checks an export. It returns its files without the head.
func openExport(r io.Reader, passphrase string) ([]stateFile, error) {
	by, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, hint.ExportPassphrase.Error(notImportedf("the passphrase does not open it"))
	}
	by.SetMaxWorkFactor(maxImportWork)
	plain, err := age.Decrypt(r, by)
	var none *age.NoIdentityMatchError
	switch {
	case errors.Is(err, age.ErrIncorrectIdentity), errors.As(err, &none):
		return nil, hint.ExportPassphrase.Error(notImportedf("the passphrase does not open it"))
	case err != nil:
		return nil, noExport(fmt.Errorf("it is not encrypted by a passphrase in age's format: %w", err))
	}
	files, err := readArchive(plain)
	if err == nil {
		err = checkExport(files)
	}
	if err != nil {
		return nil, noExport(err)
	}
	return files, nil
}

func noExport(err error) error {
	return hint.NotAnExport.Error(notImportedf("it is no export of an identity: %v", err))
}

// readArchive reads the files of an export.
func readArchive(r io.Reader) (files []stateFile, err error) {
	t := tar.NewReader(r)
	left := int64(maxExport)
	seen := make(map[string]bool)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("it is damaged: %w", err)
		case len(files) > maxExported || h.Size > left:
			return nil, errors.New("it is larger than any export")
		case h.Typeflag != tar.TypeReg || len(files) == 0 && h.Name != exportHead || len(files) > 0 && !belongs(h.Name):
			return nil, fmt.Errorf("%.80q in it is no file of an identity", h.Name)
		case seen[strings.ToLower(h.Name)]: // some systems know no capitals
			return nil, fmt.Errorf("%.80q is in it twice", h.Name)
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("it is damaged: %w", err)
		}
		left -= h.Size
		seen[strings.ToLower(h.Name)] = true
		files = append(files, stateFile{h.Name, b})
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // whose end is authenticated, too
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("it is empty")
	}
	var head exportInfo
	if err := json.Unmarshal(files[0].data, &head); err != nil || head.Version != 1 {
		return nil, errors.New("it is of another version of this program")
	}
	return files[1:], nil
}

// belongs reports whether the path of a file is one that an export has, and leads
// nowhere else on any system.
func belongs(name string) bool {
	if !isExported(name) || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsAny(name, "\\:\x00") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > ownfile.MaxName {
			return false
		}
	}
	return strings.Count(name, "/") < 16
}

// checkExport checks what would otherwise be noticed at the next start.
func checkExport(files []stateFile) error {
	i := slices.IndexFunc(files, func(f stateFile) bool { return f.name == identityFile })
	if i < 0 {
		return errors.New("there is no key in it")
	}
	if _, err := parseIdentity(files[i].data); err != nil {
		return fmt.Errorf("%s in it %w", identityFile, err)
	}
	// No path may be a file and a folder.
	is := make(map[string]bool)
	for _, f := range files {
		is[f.name] = true
	}
	for _, f := range files {
		for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
			if is[dir] {
				return fmt.Errorf("%.80q in it is a file and a folder", dir)
			}
		}
	}
	return nil
}
