package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"keystay/acme"
	"keystay/config"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/ownfile"
	"keystay/remote"
)

const (
	// clockLimit is how far the clock may be from others' before it counts as wrong.
	clockLimit = 2 * time.Minute
	// maxFiles is how many files of the state directory are looked at.
	maxFiles = 10_000
)

// clock compares the clock with what the relays and the CAs say, as far as their
// certificates are to be trusted; where none is, with what they say all the same: it may
// be the clock for whose sake they are not.
func (d *doctor) clock(reports []*report, cas []*visited) cli.Finding {
	type source struct {
		who string
		*fetched
	}
	var all []source
	for _, r := range reports {
		if r.page != nil && !r.page.date.IsZero() {
			all = append(all, source{r.host(), r.page})
		}
	}
	for _, v := range cas {
		if v.page != nil && !v.page.date.IsZero() {
			all = append(all, source{v.host(), v.page})
		}
	}
	trusted := slices.DeleteFunc(slices.Clone(all), func(s source) bool { return s.invalid != nil })
	if len(trusted) > 0 {
		all = trusted
	}
	now := d.senses.now()
	var off, said []string
	for _, s := range all {
		said = append(said, s.who)
		if diff := now.Sub(s.date); diff.Abs() > clockLimit {
			off = append(off, fmt.Sprintf("%s says %s", s.who, s.date.UTC().Format(time.RFC3339)))
		}
	}
	switch {
	case len(all) == 0:
		return cli.NotRun("clock", "", "neither a relay nor a CA has told the time")
	case len(off) == 0 && len(trusted) == 0:
		return cli.NotRun("clock", "", "only who cannot be trusted has told the time: %s", strings.Join(said, ", "))
	case len(off) == 0:
		return cli.Fine("clock", "", "compared with %s", strings.Join(said, ", "))
	}
	return cli.Amiss("clock", "", hint.DoctorClock.Error(fmt.Errorf("this machine's clock says %s, %s", now.UTC().Format(time.RFC3339), strings.Join(off, ", "))))
}

// stateDir looks at the state directory, and at who may read what is in it.
func (d *doctor) stateDir() []cli.Finding {
	dir := d.cfg.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && ownfile.Dangling(dir) != nil:
		return []cli.Finding{cli.Amiss("state", "", ownfile.Dangling(dir))}
	case errors.Is(err, fs.ErrNotExist):
		return []cli.Finding{cli.NotRun("state", "", "%s is not there yet: the first start makes it", dir)}
	case err != nil:
		return []cli.Finding{cli.Amiss("state", "", hint.RemoteState.Error(err, "DIR", dir))}
	case !info.IsDir():
		return []cli.Finding{cli.Amiss("state", "", hint.RemoteState.Error(fmt.Errorf("%s is no folder", dir), "DIR", dir))}
	}
	files := 0
	var wrong []cli.Finding
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if files++; err != nil || files > maxFiles || len(wrong) == 3 {
			return cmp.Or(err, fs.SkipAll)
		}
		if err := ownfile.Exposed(path); err != nil {
			wrong = append(wrong, cli.Amiss("state", "", err))
		}
		return nil
	})
	if err != nil {
		wrong = append(wrong, cli.Amiss("state", "", hint.RemoteState.Error(err, "DIR", dir)))
	}
	if len(wrong) > 0 {
		return wrong
	}
	whose := "no identity yet"
	if shown, err := remote.PeekIdentity(dir); err == nil {
		whose = "identity " + shown.Label
	} else if !errors.Is(err, remote.ErrNoIdentity) {
		return []cli.Finding{cli.Amiss("state", "", err)}
	}
	return []cli.Finding{cli.Fine("state", "", "%s, %s; nothing in it is open to other users", dir, whose)}
}

// visited is the directory of a CA.
type visited struct {
	directory string
	page      *fetched
	err       error
}

func (v *visited) host() string {
	u, err := url.Parse(v.directory)
	if err != nil {
		return v.directory
	}
	return u.Hostname()
}

// cas asks the CAs that would be ordered at for their directories.
func (d *doctor) cas(ctx context.Context) (all []*visited) {
	if !slices.ContainsFunc(d.cfg.Services, orders) {
		return nil
	}
	list := d.cfg.ACMECAs
	if len(list) == 0 {
		list = []string{acme.LetsEncrypt}
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, ca := range list {
		v := &visited{directory: ca}
		all = append(all, v)
		wg.Go(func() {
			v.page, v.err = d.senses.fetch(ctx, v.directory, "", d.device.ACME.Roots)
		})
	}
	wg.Wait()
	return all
}

// orders reports whether certificates are ordered for a service.
func orders(s config.Service) bool { return s.Cert == "" && !isPassed(s) }

// authorities says which CAs answer.
func (d *doctor) authorities(cas []*visited) (all []cli.Finding) {
	if len(cas) == 0 {
		return []cli.Finding{cli.NotRun("ca", "", "no certificate is ordered")}
	}
	for _, v := range cas {
		switch {
		case v.err != nil:
			all = append(all, cli.Amiss("ca", v.host(), hint.CAAway.Error(v.err, "HOST", v.host())))
		case v.page.invalid != nil:
			all = append(all, cli.Amiss("ca", v.host(), hint.CAUntrusted.Error(v.page.invalid, "HOST", v.host())))
		case v.page.status != 200 || !strings.Contains(string(v.page.body), "newOrder"):
			all = append(all, cli.Amiss("ca", v.host(), hint.CANoDirectory.Error(fmt.Errorf("there is no directory of a CA at %s: HTTP %d", v.directory, v.page.status))))
		default:
			all = append(all, cli.Fine("ca", v.host(), "its directory answers"))
		}
	}
	return all
}

// services looks whether the local services can be reached, each once.
func (d *doctor) services(ctx context.Context, names []*patient) (all []cli.Finding) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	for _, s := range d.cfg.Services {
		domain, shown := nobody, shownLocal(s)
		for _, n := range names {
			if n.outlook.Domain != "" && shownLocal(n.service) == shown {
				domain = n.outlook.Domain
				break
			}
		}
		if err := d.senses.service(ctx, s, domain); err != nil {
			all = append(all, cli.Amiss("service", shown, err))
			continue
		}
		all = append(all, cli.Fine("service", shown, "can be reached"))
	}
	return all
}
