package main

import (
	"errors"
	"strings"

	"keystay/config"
	"keystay/framing"
	"keystay/internal/cli"
	"keystay/internal/hint"
	"keystay/internal/hostname"
	"keystay/internal/keyname"
	"keystay/remote"
)

// listenError gives what Listen returned its exit code and hints.
func listenError(cfg *config.Remote, err error) error {
	var inUse *remote.InUseError
	var which *remote.AmbiguousError
	var damaged *remote.DamagedError
	switch {
	case errors.As(err, &inUse) && cfg.Replica:
		return hint.ReplicaHere.Error(err)
	case errors.As(err, &inUse) && strings.HasPrefix(inUse.Name, "tcp:"):
		return err // there is no other name to take for it
	case errors.As(err, &inUse):
		return hint.ServedHere.Error(err, "OTHER", besides(inUse.Name))
	case errors.As(err, &which), errors.As(err, &damaged):
		return cli.Usage(err)
	case errors.Is(err, remote.ErrNoRelay) && firstDomain(cfg) != "":
		return cli.Usage(hint.NoNameAbove.Error(err, "NAME", firstDomain(cfg)))
	case errors.Is(err, remote.ErrNoRelay):
		return cli.Usage(hint.NoRelayGiven.Error(err))
	}
	return err
}

// firstDomain is the name that a relay is looked for by, or "".
func firstDomain(cfg *config.Remote) string {
	for _, s := range cfg.Services {
		if len(s.Domains) > 0 && len(s.Relays) == 0 {
			return s.Domains[0]
		}
	}
	return cfg.Domain
}

// besides returns a name next to one that is taken.
func besides(name string) string {
	label, zone, _ := strings.Cut(name, ".")
	return label[:min(len(label), hostname.MaxLabel-1)] + "2." + zone
}

// finalError gives what ended the listener its exit code and hints.
// TokenGiven says that there was a token.
func finalError(err error, tokenGiven bool) error {
	var withheld *remote.WithheldError
	var denial *framing.Denial
	var refusal *framing.Refusal
	switch {
	case errors.As(err, &withheld):
		return &cli.Error{Code: cli.ExitRefused, Err: withheld}
	case errors.As(err, &denial) && (denial.Permanent() || denial.Code == framing.DeniedReplaced):
		return denied(denial, tokenGiven)
	case errors.As(err, &refusal) && refusal.Permanent():
		return &cli.Error{Code: cli.ExitRefused, Err: refused(refusal)}
	}
	return err
}

func denied(d *framing.Denial, tokenGiven bool) error {
	e := &cli.Error{Code: cli.ExitRefused, Err: d}
	if _, _, ok := framing.ParsePortName(d.Name); ok {
		switch d.Code {
		case framing.DeniedInvalid:
			e.Err = hint.NoTCPPorts.Error(d)
			return e
		case framing.DeniedToken, framing.DeniedClosed:
			e.Err = hint.NoNewPorts.Error(d)
			return e
		}
	}
	label, _, _ := strings.Cut(d.Name, ".")
	switch d.Code {
	case framing.DeniedToken:
		switch {
		case tokenGiven:
			e.Err = hint.TokenWrong.Error(d)
		case !keyname.Is(label): // such a relay says itself what to do about a name made from a key
			e.Err = hint.TokenWanted.Error(d)
		}
	case framing.DeniedTaken:
		e.Err = hint.NameTaken.Error(d)
	case framing.DeniedClosed:
		if !keyname.Is(label) {
			e.Err = hint.NoNewNames.Error(d)
		}
	case framing.DeniedInvalid:
		e.Err = hint.NotBelow.Error(d)
	case framing.DeniedReplaced:
		e.Code, e.Err = cli.ExitReplaced, hint.Replaced.Error(d)
	case framing.DeniedBanned:
		e.Err = hint.Banned.Error(d)
	case framing.DeniedReleased:
		e.Err = hint.Released.Error(d)
	}
	return e
}

func refused(r *framing.Refusal) error {
	switch r.Code {
	case framing.RefusedProof:
		return hint.ProofFails.Error(r)
	case framing.RefusedVersion:
		return hint.OtherVersion.Error(r)
	}
	return hint.Banned.Error(r)
}
