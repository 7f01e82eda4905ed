// Names-webhook is an example of a server that decides which new names a keystay
// relay gives out: names.webhook in relay.yaml. It gives each name out for the
// invitation that stands beside it in a file, as the token of the device:
//
//	xyz.relay.net  an-invitation-for-xyz
//
// It takes a question only when it is signed with the key that the relay has, and
// not older than a minute.
package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8000", "where the relay asks")
	secretFile := flag.String("secret-file", "webhook-secret", "the key that signs the questions, as in names.webhook.secret_file")
	invitations := flag.String("invitations", "invitations", "a name and its invitation in each line")
	flag.Parse()
	secret, err := os.ReadFile(*secretFile)
	if err != nil {
		log.Fatal(err)
	}
	ln, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", ln.Addr())
	s := &server{secret: []byte(strings.TrimSpace(string(secret))), invitations: *invitations}
	srv := &http.Server{Handler: s, ReadTimeout: 5 * time.Second}
	stop, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(stop, func() { srv.Close() })
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

type server struct {
	secret      []byte
	invitations string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<10))
	if err != nil || !s.signed(r.Header.Get("Keystay-Signature"), body) {
		http.Error(w, "not signed by the relay", http.StatusForbidden)
		return
	}
	var question struct{ Name, Identity, Token, Source string }
	if err := json.Unmarshal(body, &question); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := map[string]any{"allow": true}
	if !s.invited(question.Name, question.Token) {
		answer = map[string]any{"allow": false, "reason": "no invitation for it", "hint": "ask us for one, and give it with --token-file"}
	}
	log.Printf("%s for %s: %v", question.Name, question.Identity, answer["allow"])
	json.NewEncoder(w).Encode(answer)
}

// signed checks a signature of the form t=SECONDS,v1=HEX.
func (s *server) signed(signature string, body []byte) bool {
	at, mac, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > time.Minute {
		return false
	}
	want := hmac.New(sha256.New, s.secret)
	want.Write([]byte(at + "."))
	want.Write(body)
	got, err := hex.DecodeString(mac)
	return err == nil && hmac.Equal(got, want.Sum(nil))
}

// invited reports whether the file has the name with this invitation.
func (s *server) invited(name, token string) bool {
	f, err := os.Open(s.invitations)
	if err != nil {
		log.Print(err)
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) == 2 && words[0] == name && subtle.ConstantTimeCompare([]byte(words[1]), []byte(token)) == 1 {
			return true
		}
	}
	return false
}
