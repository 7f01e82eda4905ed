package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"keystay/config"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/relay/cluster"
	"keystay/relay/cluster/record"
	"keystay/relay/names"
)

// firstAnswer is how long a start waits for etcd. Then the relay begins without: devices
// that need nothing of the record have their names.
const firstAnswer = 5 * time.Second

// clusterDir is the folder of a node's keys, in the state directory.
const clusterDir = "cluster"

// A nameRecord is the record of names of this process: one of both.
type nameRecord struct {
	names.Store
	file *names.Grants
	etcd *record.Record
	lock *stateLock // with etcd; the file has its own
}

// openRecord opens the record of names: the file in the state directory, or the one that
// this node shares with others.
func openRecord(cfg *config.Relay, log *slog.Logger) (*nameRecord, error) {
	if !cfg.Cluster.On() {
		gone := isGone(cfg.StateDir)
		file, err := names.OpenGrants(cfg.StateDir)
		if err == nil && gone {
			log.Warn("names.db is gone: a new record of names begins, and every name is free for whoever comes first",
				hint.Attr(hint.RecordGone.With("FILE", filepath.Join(cfg.StateDir, recordName))))
		}
		return &nameRecord{Store: file, file: file}, err
	}
	c, err := etcdOf(cfg, log)
	if err != nil {
		return nil, err
	}
	lock, err := lockState(cfg.StateDir, lockTimeout)
	if err != nil {
		return nil, err
	}
	shared, err := record.Open(c)
	if err != nil {
		lock.pause()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstAnswer)
	defer cancel()
	if err := shared.Ready(ctx); errors.Is(err, names.ErrDamaged) {
		shared.Close()
		lock.pause()
		return nil, err
	} else if err != nil {
		log.Warn("the relay begins without its record of names, and reads it as soon as etcd answers", "err", err, hint.Attr(hint.All(err)))
	}
	return &nameRecord{Store: shared, etcd: shared, lock: lock}, nil
}

// nodes is where the nodes that share the record find each other; nil where none do.
func (r *nameRecord) nodes() cluster.Directory {
	if r.etcd == nil {
		return nil
	}
	return r.etcd.Nodes()
}

// isGone reports whether a relay has run from a state directory that has no record of names
// now.
func isGone(stateDir string) bool {
	_, err := os.Lstat(filepath.Join(stateDir, recordName))
	_, ran := os.Lstat(filepath.Join(stateDir, "audit.log"))
	return errors.Is(err, fs.ErrNotExist) && ran == nil
}

// close ends the use of the record. It may be nil.
func (r *nameRecord) close() {
	switch {
	case r == nil:
	case r.file != nil:
		r.file.Close()
	case r.etcd != nil:
		r.etcd.Close()
		r.lock.pause()
	}
}

// pause lets another process have the record, and reopen ends that. Nodes share theirs
// anyway, but not their state directory.
func (r *nameRecord) pause() {
	if r.file != nil {
		r.file.Close()
	} else {
		r.lock.pause()
	}
}

func (r *nameRecord) reopen() error {
	if r.file != nil {
		return r.file.Reopen()
	}
	return r.lock.resume()
}

// copyTo writes the record to a file of bbolt, in the place of one that is there, and
// returns its size in bytes.
func (r *nameRecord) copyTo(file string) (size int64, err error) {
	if r.file != nil {
		return r.file.Copy(file)
	}
	if _, err := exportTo(r.etcd, file); err != nil {
		return 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// exportTo writes any record to a file of bbolt, in the place of one that is there, and
// returns how many entries each table has. The file is there whole or not at all.
func exportTo(from names.Store, file string) (counts map[names.Table]int, err error) {
	dir, err := os.MkdirTemp(filepath.Dir(file), ".names")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	to, err := names.OpenGrants(dir)
	if err != nil {
		return nil, err
	}
	counts, err = names.Transfer(from, to)
	if err = cmp.Or(err, to.Close()); err != nil {
		return nil, err
	}
	if err := os.Rename(filepath.Join(dir, recordName), file); err != nil {
		return nil, err
	}
	return counts, ownfile.SyncDir(filepath.Dir(file))
}

// etcdOf makes of the configuration what package record needs.
func etcdOf(cfg *config.Relay, log *slog.Logger) (c record.Config, err error) {
	e := cfg.Cluster.Etcd
	c = record.Config{Endpoints: e.Endpoints, Username: e.Username, Password: string(e.Password), Prefix: e.Prefix,
		File: filepath.Join(cfg.StateDir, clusterDir, "record.seen"), Logger: log}
	file := cmp.Or(cfg.Cluster.RecordKeyFile, nodeDir(cfg).RecordKey())
	if c.Key, err = cluster.ReadRecordKey(file); err != nil {
		return c, hint.NoRecordKey.Error(fmt.Errorf("the key of the record of names: %w", err), "FILE", file)
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CAFile != "" {
		pem, err := ownfile.Read(e.CAFile)
		if err != nil {
			return c, ownfile.Explain(err, e.CAFile)
		}
		if c.TLS.RootCAs = x509.NewCertPool(); !c.TLS.RootCAs.AppendCertsFromPEM(ownfile.PEM(pem)) {
			if form := ownfile.OtherForm(pem, e.CAFile, false); form != nil {
				return c, fmt.Errorf("cluster.etcd.ca_file: %s %w", e.CAFile, form)
			}
			return c, hint.NoRoots.Error(fmt.Errorf("cluster.etcd.ca_file: %s has no certificate", e.CAFile), "FILE", e.CAFile)
		}
	}
	if e.CertFile != "" {
		// Read anew for each connection, since such certificates are renewed.
		c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(e.CertFile, e.KeyFile)
			return &pair, err
		}
		if _, err := c.TLS.GetClientCertificate(nil); err != nil {
			return c, fmt.Errorf("cluster.etcd.cert_file: %w", err)
		}
	}
	return c, nil
}
