package operator

import (
	"net/http"
	"strings"
	"time"

	"keystay/internal/hostname"
	"keystay/relay/limits"
	"keystay/relay/names"
)

// maxTokenNames is how many names one token may be for.
const maxTokenNames = 100

func (s *Server) tokens(r *http.Request) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := s.Names.ListTokens()
	if list == nil {
		list = []names.TokenInfo{}
	}
	return Tokens{list}, answered(err)
}

// createToken answers with the secret, which stands nowhere else: neither in a log
// nor in the record.
func (s *Server) createToken(r *http.Request) (any, error) {
	var b NewToken
	if err := read(r, &b); err != nil {
		return nil, err
	}
	info := names.TokenInfo{Uses: b.Uses, Bind: b.Bind, Note: b.Note, Limits: b.Limits}
	if err := text("note", b.Note); err != nil {
		return nil, err
	}
	if len(b.Names) == 0 || len(b.Names) > maxTokenNames {
		return nil, wrong("a token is for 1 to %d names, not %d", maxTokenNames, len(b.Names)).because("give them with --names: '*." + s.Domain + "' is all names below the relay's own")
	}
	for _, name := range b.Names {
		name, err := s.tokenName(name)
		if err != nil {
			return nil, err
		}
		info.Names = append(info.Names, name)
	}
	if o, err := limits.ParseOwner(b.Limits); err != nil {
		return nil, wrong("limits: %v", err).because("as in bandwidth=10MiB/s, bytes_per_month=500GiB, connection_rate=100/s, streams=100 or names=5; off is no limit")
	} else if o.Names < 0 {
		return nil, wrong("limits: a device cannot have names without end").because("a number, as in names=100")
	}
	if b.Uses < 0 {
		return nil, wrong("uses is %d", b.Uses).because("0 is any number of names")
	}
	if b.Expires != "" {
		d, err := span("expires", b.Expires)
		if err != nil {
			return nil, err
		}
		info.Expires = time.Now().UTC().Add(d).Truncate(time.Second)
	}
	secret, made, err := s.Names.CreateToken(info)
	if err != nil {
		err = answered(err)
		s.noted(r, "token.create", strings.Join(info.Names, " "), b.Note, err)
		return nil, err
	}
	s.noted(r, "token.create", made.ID+" "+strings.Join(made.Names, " "), b.Note, nil)
	return CreatedToken{secret, made}, nil
}

// tokenName returns the normal form of a name, or of all names below one, that a
// token is for.
func (s *Server) tokenName(typed string) (string, error) {
	if typed == "*" {
		return "", wrong("%q is no name", typed).because("did you mean *." + s.Domain + "?")
	}
	base, wild := strings.CutPrefix(typed, "*.")
	name, err := s.nameOf(base)
	switch {
	case err != nil:
		return "", err
	case name == s.Domain && !wild:
		return "", wrong("%s is the relay's own name", name).because("*." + name + " is all names below it")
	case name != s.Domain && !hostname.IsBelow(name, s.Domain):
		return "", wrong("%s is not below %s", name, s.Domain)
	case wild:
		return "*." + name, nil
	}
	return name, nil
}

func (s *Server) revokeToken(r *http.Request) (any, error) {
	var b Revoke
	if err := read(r, &b); err != nil {
		return nil, err
	}
	if err := text("reason", b.Reason); err != nil {
		return nil, err
	}
	if len(b.ID) != 16 || strings.Trim(b.ID, "0123456789abcdef") != "" {
		return nil, wrong("that is no id of a token").because( // it may be its secret, which is not shown
			"16 digits and letters, as relay token list shows them")
	}
	released, err := s.Names.RevokeToken(b.ID, b.Names)
	if released == nil {
		released = []string{}
	}
	err = answered(err, "see relay token list; a token of the configuration is ended there")
	s.noted(r, "token.revoke", b.ID, b.Reason, err)
	return Revoked{released}, err
}
