package main

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/operator"
)

func backupCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the running relay's state directory",
		Long: `FILE is a tar archive of all that is in the state directory: the record of names, with
tokens and bans, the relay's account with the CA and its certificate, and the audit log.
It is made while the relay runs, has mode 0600 and overwrites nothing; - is standard
output. It holds secrets: the key of the certificate, and that of the account.

To restore it, unpack it into an empty state directory, while no relay runs on it.`,
		Example: `  relay backup --config relay.yaml keystay-$(date +%F).tar
  relay backup --config relay.yaml - | age -r KEY > keystay.tar.age`,
		Args: cli.Args("FILE"),
	}
	return asLever(c, func(l *lever) error {
		dir := filepath.Dir(l.path)
		var names operator.Copied
		if err := l.client.Do(l.Context(), http.MethodPost, "/v1/names/copy", struct{}{}, &names); err != nil {
			return err
		}
		fresh := filepath.Join(dir, filepath.Base(names.File))
		defer os.Remove(fresh)
		b := backup{dir: dir, names: fresh}
		if l.args[0] == "-" {
			return b.failed(b.write(l.OutOrStdout()), "standard output")
		}
		if err := b.writeFile(l.args[0]); err != nil {
			return b.failed(err, l.args[0])
		}
		made := struct {
			File  string `json:"file"`
			Files int    `json:"files"`
			Bytes int64  `json:"bytes"`
		}{l.args[0], b.files, b.bytes}
		return l.show(made, func(w io.Writer) {
			fmt.Fprintf(w, "%s is written: %s, %s\n", made.File, counted(made.Files, "file", "files"), amount(made.Bytes))
		})
	})
}

// recordName is the record of names in a state directory.
const recordName = "names.db"

// A backup is made of a state directory and a whole copy of its record of names.
type backup struct {
	dir, names string
	self       os.FileInfo // the file that is written, which may be in that folder; or nil

	files int
	bytes int64
}

// failed makes an error one that is about files and not about the relay.
func (b *backup) failed(err error, file string) error {
	var at *os.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &at):
		file = at.Path
	}
	return &cli.Error{Code: cli.ExitFailed, Err: ownfile.ExplainIn(fmt.Errorf("the backup: %w", err), file, b.dir)}
}

// inState gives the path of an error of the state directory in full.
func (b *backup) inState(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return &os.PathError{Op: "open", Path: filepath.Join(b.dir, at.Path), Err: at.Err}
	}
	return err
}

// writeFile makes the file of the backup; one that is not whole is removed.
func (b *backup) writeFile(file string) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return hint.BackupExists.Error(fmt.Errorf("%s is there already", file))
	}
	if err != nil {
		return err
	}
	if b.self, err = f.Stat(); err == nil {
		err = b.write(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = cmp.Or(err, f.Close()); err != nil {
		os.Remove(file)
	}
	return err
}

// write writes the copy of the record, and all other regular files of the folder but
// the locks. No link leads out of the folder: the relay may run as another user.
func (b *backup) write(w io.Writer) error {
	root, err := os.OpenRoot(b.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewWriter(w)
	if err := b.add(archive, root, filepath.Base(b.names), recordName); err != nil {
		return err
	}
	err = fs.WalkDir(root.FS(), ".", func(inside string, e fs.DirEntry, err error) error {
		switch {
		case err != nil && errors.Is(err, fs.ErrNotExist) && inside != ".": // put aside or replaced meanwhile
			return nil
		case err != nil:
			return b.inState(err)
		case e.IsDir() && inside == "acme/locks":
			return fs.SkipDir
		case inside == ".", inside == recordName, inside == namesCopy, inside == namesCopy+".new":
			return nil
		case !e.IsDir() && !e.Type().IsRegular():
			return nil
		}
		err = b.add(archive, root, inside, inside)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return cmp.Or(err, archive.Close())
}

// add writes one file, or folder, of the state directory as it is now.
func (b *backup) add(archive *tar.Writer, root *os.Root, file, name string) error {
	f, err := root.Open(filepath.FromSlash(file))
	if err != nil {
		return b.inState(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if b.self != nil && os.SameFile(info, b.self) {
		return nil
	}
	head, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	head.Name = name
	if info.IsDir() {
		head.Name = path.Clean(name) + "/"
		return archive.WriteHeader(head)
	}
	if err := archive.WriteHeader(head); err != nil {
		return err
	}
	n, err := io.CopyN(archive, f, head.Size) // bytes that are added to it meanwhile are left out
	b.files, b.bytes = b.files+1, b.bytes+n
	return err
}
