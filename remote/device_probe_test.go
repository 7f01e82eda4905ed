package remote_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"keystay/internal/probe"
	"keystay/remote"
)

func TestADeviceSignsQuestionsAndAnswersWithItsIdentity(t *testing.T) {
	d, err := remote.Open(remote.DeviceConfig{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	own := func(key ed25519.PublicKey) bool { return key.Equal(d.PublicKey()) }
	doc, hash := d.SignQuestion(probe.Question{Name: domain})
	q, same, err := probe.OpenQuestion(doc, own)
	if err != nil || q.Name != domain || !bytes.Equal(hash, same) {
		t.Errorf("%+v %v", q, err)
	}
	a, err := probe.OpenAnswer(d.SignAnswer(probe.Answer{Question: hash}), own)
	if err != nil || !bytes.Equal(a.Question, hash) {
		t.Errorf("%+v %v", a, err)
	}
}
