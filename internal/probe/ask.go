package probe

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// Path is where a name answers the questions of other remotes, by POST.
	Path = "/.well-known/keystay/probe"
	// ContentType is that of questions and answers.
	ContentType = "application/json"
	// MaxQuestion and MaxAnswer bound the documents, in bytes.
	MaxQuestion, MaxAnswer = 4 << 10, 128 << 10
	// Window is how far the time of a document may be from the reader's, either way.
	Window = 10 * time.Minute
	// NonceSize is the length of Question.Nonce, in bytes.
	NonceSize = 16

	version = 1
)

// These begin what is signed of questions and answers, and nothing else that a device signs.
const (
	questionPrefix = "keystay-probe-question-v1\x00"
	answerPrefix   = "keystay-probe-answer-v1\x00"
)

// ErrSignature is the error of a document that its identity has not signed.
var ErrSignature = errors.New("the signature is not by the identity that the document names")

// A Question asks another remote to look at a name from where it is.
type Question struct {
	Name  string    `json:"name"`  // to look at
	Port  int       `json:"port"`  // of it
	HTTP  bool      `json:"http"`  // it answers requests
	To    string    `json:"to"`    // the name of the remote that is asked
	Nonce []byte    `json:"nonce"` // NonceSize random bytes
	Time  time.Time `json:"time"`

	// Beside are other ports of it to look at.
	Beside []int `json:"beside,omitempty"`
}

// An Answer is what the other remote has seen.
type Answer struct {
	Question []byte    `json:"question"` // SHA-256 of the question's signed body
	Time     time.Time `json:"time"`
	Sights   []Sight   `json:"sights"`
}

// A Sight is what came of one connection.
type Sight struct {
	Address  string   `json:"address"`            // host:port that was dialled, or empty
	Step     string   `json:"step,omitempty"`     // at which it failed, or empty
	Why      string   `json:"why,omitempty"`      // for people
	Chain    [][]byte `json:"chain,omitempty"`    // certificates in DER, the leaf first
	Exporter []byte   `json:"exporter,omitempty"` // Size bytes, after a handshake
	Random   []byte   `json:"random,omitempty"`   // of the hello, with Exporter
}

// document is the form of both on the wire.
type document struct {
	Keystay   int    `json:"keystay"`
	Body      []byte `json:"body"` // in JSON
	Identity  []byte `json:"identity"`
	Signature []byte `json:"signature"`
}

// SignQuestion returns the document of a question, and the hash that its answer names.
func SignQuestion(key ed25519.PrivateKey, q Question) (doc, hash []byte) {
	doc, body := sign(key, questionPrefix, q)
	sum := sha256.Sum256(body)
	return doc, sum[:]
}

// SignAnswer returns the document of an answer.
func SignAnswer(key ed25519.PrivateKey, a Answer) []byte {
	doc, _ := sign(key, answerPrefix, a)
	return doc
}

func sign(key ed25519.PrivateKey, prefix string, v any) (doc, body []byte) {
	body, _ = json.Marshal(v) // texts, bytes, numbers and times always have a form
	doc, _ = json.Marshal(document{version, body, key.Public().(ed25519.PublicKey), ed25519.Sign(key, append([]byte(prefix), body...))})
	return doc, body
}

// OpenQuestion reads a question whose identity is trusted, and returns the hash that its
// answer has to name. The time is not looked at.
func OpenQuestion(doc []byte, trusted func(ed25519.PublicKey) bool) (q Question, hash []byte, err error) {
	body, err := open(doc, MaxQuestion, questionPrefix, trusted, &q)
	sum := sha256.Sum256(body)
	return q, sum[:], err
}

// OpenAnswer reads an answer whose identity is trusted.
func OpenAnswer(doc []byte, trusted func(ed25519.PublicKey) bool) (a Answer, err error) {
	_, err = open(doc, MaxAnswer, answerPrefix, trusted, &a)
	return a, err
}

// ErrStranger is the error of a document of an identity that is not trusted.
var ErrStranger = errors.New("the identity is not one of this device's owner")

func open(doc []byte, most int, prefix string, trusted func(ed25519.PublicKey) bool, v any) ([]byte, error) {
	if len(doc) > most {
		return nil, fmt.Errorf("the document has more than %d bytes", most)
	}
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("the document is not the JSON that it should be: %w", err)
	}
	switch {
	case d.Keystay != version:
		return nil, fmt.Errorf("the document has version %d, and this program knows %d", d.Keystay, version)
	case len(d.Identity) != ed25519.PublicKeySize || !trusted(d.Identity):
		return nil, ErrStranger
	case !ed25519.Verify(d.Identity, append([]byte(prefix), d.Body...), d.Signature):
		return nil, ErrSignature
	}
	if err := json.Unmarshal(d.Body, v); err != nil {
		return nil, fmt.Errorf("the body is not the JSON that it should be: %w", err)
	}
	return d.Body, nil
}

// IsFresh reports whether a time is within [Window] of now.
func IsFresh(t, now time.Time) bool { return now.Sub(t).Abs() <= Window }
