package main

import (
	"context"
	"crypto/tls"
	"os"
	"time"

	"keystay/internal/cli"
	"keystay/relay/operator"
)

// apiGrace is how long what the operator has asked for may take to be answered when
// the process ends.
const apiGrace = 2 * time.Second

// newAPI returns what answers the operator, on the socket that openAPI opens.
func (p *process) newAPI() *operator.Server {
	return &operator.Server{
		Relay:  p.srv,
		About:  p.aboutStatus,
		Config: p.inEffect,
		Drain:  p.drainByLever,
		Audit:  p.audit,
		Logger: p.log,
	}
}

// aboutStatus adds to a status what the server does not know.
func (p *process) aboutStatus(st *operator.Status) {
	st.Domain, st.Policy, st.Version, st.PID = p.cfg.Domain, p.cfg.Names.Policy, cli.Version(), os.Getpid()
	if err := p.cert.ready(); err != nil {
		st.Why = err.Error()
	}
	st.Ready = st.Why == "" && st.State == "serving"
	if cert, err := p.cert.tlsConfig().GetCertificate(&tls.ClientHelloInfo{ServerName: p.cfg.Domain}); err == nil && cert != nil && cert.Leaf != nil {
		st.CertificateUntil = &cert.Leaf.NotAfter
	}
	for _, s := range p.sockets {
		st.Sockets = append(st.Sockets, operator.Socket{For: s.what, Addr: s.ln.Addr().String()})
	}
}

// drainByLever begins the orderly end, as SIGTERM does, and returns when it is over
// at the latest.
func (p *process) drainByLever() time.Time {
	p.drainOnce.Do(func() {
		p.drainUntil = time.Now().Add(p.cfg.DrainTimeout)
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
