package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"keystay/internal/cli"
	"keystay/internal/keyname"
	"keystay/relay/names"
	"keystay/relay/operator"
	"keystay/relay/operator/page"
)

// apiGrace is how long what the operator has asked for may take to be answered when
// the process ends.
const apiGrace = 2 * time.Second

// newAPI returns what answers the operator, on the socket that openAPI opens.
func (p *process) newAPI() *operator.Server {
	api := &operator.Server{
		Relay:  p.srv,
		Domain: p.cfg.Domain,
		Names:  p.srv.Names,
		About:  p.aboutStatus,
		Config: p.inEffect,
		Drain:  p.drainByLever,
		Copy:   p.copyNames,
		Audit:  p.audit,
		Logger: p.log,
	}
	if p.node != nil {
		api.Cluster = p.node
	}
	return api
}

// namesCopy is the copy of the record of names that the operator has asked for, in the
// state directory.
const namesCopy = "names.db.copy"

// copyNames writes it.
func (p *process) copyNames() (file string, size int64, err error) {
	file = filepath.Join(p.cfg.StateDir, namesCopy)
	if size, err = p.grants.copyTo(file); err != nil {
		return "", 0, stateError(p.cfg.StateDir, fmt.Errorf("copy the record of names: %w", err))
	}
	return file, size, nil
}

// openPage puts the operator's page on the admin address. It is set before that is
// served.
func (p *process) openPage() {
	p.page = &page.Page{API: p.api, Hosts: p.cfg.Admin.Hosts, Logger: p.log}
	p.page.SetUsers(p.cfg.Admin.Users)
	p.srv.AdminPage, p.srv.AdminHosts = p.page, p.cfg.Admin.Hosts
}

// aboutStatus adds to a status what the server does not know.
func (p *process) aboutStatus(st *operator.Status) {
	st.Domain, st.Policy, st.Version, st.PID = p.cfg.Domain, p.now().cfg.Names.Policy, cli.Version(), os.Getpid()
	if err := p.cert.ready(); err != nil {
		st.Why = err.Error()
	}
	st.Ready = st.Why == "" && st.State == "serving"
	if cert, err := p.cert.tlsConfig().GetCertificate(&tls.ClientHelloInfo{ServerName: p.cfg.Domain}); err == nil && cert != nil && cert.Leaf != nil {
		st.CertificateUntil = &cert.Leaf.NotAfter
	}
	if p.node != nil {
		p.node.addStatus(st)
	}
	for _, s := range p.sockets {
		st.Sockets = append(st.Sockets, operator.Socket{For: s.what, Addr: s.ln.Addr().String()})
	}
}

// drainByLever begins the orderly end, as SIGTERM does, and returns when it is over
// at the latest.
func (p *process) drainByLever() time.Time {
	p.drainOnce.Do(func() {
		p.drainUntil = time.Now().Add(p.now().cfg.DrainTimeout)
		close(p.asked)
	})
	return p.drainUntil
}

// askedToDrain returns a context that ends with drain, or when the operator has
// pulled that lever.
func (p *process) askedToDrain(drain context.Context) (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = context.WithCancel(drain)
	p.wg.Go(func() {
		select {
		case <-p.asked:
			stop()
		case <-ctx.Done():
		}
	})
	return ctx, stop
}

// noteChange writes into the audit log what has become of a name.
func (p *process) noteChange(c names.Change) {
	e := operator.Entry{Who: "relay", What: "name." + c.What, On: c.Name, Reason: c.Reason, Result: "done"}
	if len(c.Key) == ed25519.PublicKeySize {
		e.Identity = keyname.Label(c.Key, "")
	}
	switch {
	case c.Name == "":
		e.What, e.On = "identity."+c.What, e.Identity
	case c.What == "granted", c.What == "moved":
		e.Who = "identity " + e.Identity
	}
	if c.Token != "" {
		e.Reason = strings.TrimSpace("token " + c.Token + " " + c.Reason)
	}
	p.audit.Note(e)
}

// noteBanned writes into the audit log whom a ban has refused.
func (p *process) noteBanned(identity, name, why string) {
	what := "name.denied"
	if name == "" {
		what = "link.refused"
	}
	p.audit.Note(operator.Entry{Who: "identity " + identity, What: what, On: name, Identity: identity, Result: why})
}

// closeAPI ends the answers to the operator. What is being answered gets its end.
func (p *process) closeAPI() {
	if p.api == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), apiGrace)
	defer cancel()
	p.api.Shutdown(ctx)
	p.api.Close()
}
