package remote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"keystay/internal/hint"
	"keystay/internal/ownfile"
)

// tokensDir is the folder of the tokens that relays were given by KeepToken, in a
// state directory. Each is a file with the name of its relay.
const tokensDir = "tokens"

// maxToken is the longest token that is kept, in bytes, as in a claim.
const maxToken = 1024

// tokenFile is where the token for a relay is kept, below the state directory. A
// relay is its name, whatever port it is dialled at: that is what its certificate is
// for.
func tokenFile(relay string) string {
	host, _ := splitRelay(relay)
	return filepath.Join(tokensDir, ownfile.Name(strings.ToLower(host)))
}

// KeepToken keeps a token for a relay, host or host:port, in a state directory, in a
// file with mode 0600. It is sent to that relay alone, and where Config.Token is
// empty. A run that goes on takes it up with its next claim.
func KeepToken(stateDir, relay, token string) error {
	if token == "" || len(token) > maxToken {
		return fmt.Errorf("keep a token: it has %d bytes, at most %d", len(token), maxToken)
	}
	s, unlock, err := lockState(stateDir)
	if err != nil {
		return err
	}
	defer unlock()
	dir := s.path(tokensDir)
	if err := ownfile.MkdirAll(dir); err != nil {
		return unusable("make a folder in", stateDir, dir, err)
	}
	return s.write(tokenFile(relay), []byte(token+"\n"))
}

// ForgetToken removes what KeepToken has kept, and reports whether there was any.
func ForgetToken(stateDir, relay string) (was bool, err error) {
	s := &state{dir: stateDir}
	file := s.path(tokenFile(relay))
	err = os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unusable("remove a file in", stateDir, file, err)
	}
	return true, nil
}

// HasToken reports whether KeepToken has kept a token for a relay.
func HasToken(stateDir, relay string) bool {
	token, err := (&state{dir: stateDir}).keptToken(relay)
	return err == nil && token != ""
}

// keptToken returns the token that is kept for a relay, or "".
func (s *state) keptToken(relay string) (string, error) {
	file := s.path(tokenFile(relay))
	info, err := os.Stat(file)
	if link := ownfile.Dangling(file); link != nil {
		return "", fmt.Errorf("the token for %s cannot be read: %w", relay, link)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || info.Size() > 2*maxToken {
		return "", hint.BadToken.Error(fmt.Errorf("the token for %s cannot be read", relay), "FILE", file)
	}
	b, err := ownfile.Read(file)
	token := strings.TrimSpace(string(ownfile.Text(b)))
	if err != nil || token == "" || len(token) > maxToken {
		return "", hint.BadToken.Error(fmt.Errorf("the token for %s cannot be read", relay), "FILE", file)
	}
	return token, nil
}
