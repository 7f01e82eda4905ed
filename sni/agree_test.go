package sni_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/iotest"

	"keystay/sni"
)

// disagreement says where Parse and crypto/tls differ on b, or "".
func disagreement(b []byte, h sni.Hello, err error) string {
	theirs, terr := secondOpinion(b)
	if err == nil && bytes.HasSuffix(h.ServerName, []byte(".")) {
		if theirs != nil {
			return "crypto/tls accepts a name that ends in a dot"
		}
		return disagreementDotted(b, h)
	}
	switch {
	case err == nil && theirs == nil:
		return "only Parse accepts: crypto/tls says " + terr.Error()
	case errors.Is(err, sni.ErrTooLarge):
		return "" // crypto/tls has no such limit
	case err != nil && theirs != nil:
		return "only crypto/tls accepts: Parse says " + err.Error()
	case errors.Is(err, sni.ErrIncomplete) && !errors.Is(terr, io.EOF) && !errors.Is(terr, io.ErrUnexpectedEOF):
		return "Parse wants more, crypto/tls says " + terr.Error()
	case err != nil:
		return ""
	case theirs.ServerName != string(h.ServerName):
		return "names differ: " + strconv.Quote(theirs.ServerName) + ", " + strconv.Quote(string(h.ServerName))
	}
	for _, p := range theirs.SupportedProtos {
		if !h.OffersALPN(p) {
			return "does not offer " + strconv.Quote(p)
		}
	}
	const absent = "no such protocol"
	for _, p := range append(theirs.SupportedProtos, absent) {
		if want := len(theirs.SupportedProtos) == 1 && theirs.SupportedProtos[0] == p; h.OnlyALPN(p) != want {
			return "offers only " + strconv.Quote(p) + " is " + strconv.FormatBool(!want)
		}
	}
	if h.OffersALPN(absent) && !slices.Contains(theirs.SupportedProtos, absent) {
		return "offers what was not sent"
	}
	return ""
}

// disagreementDotted lets crypto/tls judge b with the dots at the end of its
// name replaced.
func disagreementDotted(b []byte, h sni.Hello) string {
	stem := bytes.TrimRight(h.ServerName, ".")
	patched := cat(stem, bytes.Repeat([]byte("x"), len(h.ServerName)-len(stem)))
	var msg []byte
	for _, r := range recordsOf(b) {
		if r[0] == 22 {
			msg = append(msg, r[5:]...)
		}
	}
	from := vec16(h.ServerName)
	for i := 0; ; i++ {
		j := bytes.Index(msg[i:], from)
		if j < 0 {
			return "crypto/tls does not accept it with the dot replaced either"
		}
		i += j
		m := slices.Clone(msg)
		copy(m[i+2:], patched)
		theirs, _ := secondOpinion(split(m, 1<<14))
		if theirs != nil && theirs.ServerName == string(patched) {
			return ""
		}
	}
}

func TestAgreesWithCryptoTLSOnCorpus(t *testing.T) {
	accepted, hellos := 0, corpus(t)
	for i, b := range hellos {
		whole, err := sni.Parse(b)
		if why := disagreement(b, whole, err); why != "" {
			t.Errorf("hello %d: %s\n%x", i, why, b)
		}
		if err == nil {
			accepted++
		}
		single, rerr := sni.Read(&wire{r: iotest.OneByteReader(bytes.NewReader(b))}, make([]byte, 64))
		sameAsParse(t, b, whole, err, single, rerr)
	}
	t.Logf("%d of %d hellos accepted", accepted, len(hellos))
}

// sameAsParse checks what Read made of the connection's bytes b and then EOF
// against what Parse made of b.
func sameAsParse(t *testing.T, b []byte, whole sni.Hello, err error, read sni.Hello, rerr error) {
	t.Helper()
	if errors.Is(err, sni.ErrIncomplete) {
		err = io.ErrUnexpectedEOF
		if len(b) == 0 {
			err = io.EOF
		}
	}
	if !errors.Is(rerr, err) {
		t.Errorf("Read says %v, Parse %v\n%x", rerr, err, b)
	}
	if string(whole.ServerName) != string(read.ServerName) {
		t.Errorf("Read has name %q, Parse %q\n%x", read.ServerName, whole.ServerName, b)
	}
	if !bytes.HasPrefix(b, read.Raw) {
		t.Errorf("Raw is not what was sent\n%x", b)
	}
}

// TestAgreesWithCryptoTLSOnMutations takes hellos apart at random and lets
// them arrive in random pieces. SNI_MUTATIONS sets another number of them.
func TestAgreesWithCryptoTLSOnMutations(t *testing.T) {
	count := 20_000
	if s := os.Getenv("SNI_MUTATIONS"); s != "" {
		var err error
		if count, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	accepted, hellos := 0, corpus(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range count {
		b := mutate(rnd, hellos)
		whole, err := sni.Parse(b)
		if why := disagreement(b, whole, err); why != "" {
			t.Fatalf("mutation %d: %s\n%x", i, why, b)
		}
		if err == nil {
			accepted++
		}
		pieces := &wire{r: &pieceReader{b: b, rnd: rnd}}
		read, rerr := sni.Read(pieces, make([]byte, rnd.IntN(4096)))
		sameAsParse(t, b, whole, err, read, rerr)
		if t.Failed() {
			t.Fatalf("mutation %d", i)
		}
	}
	t.Logf("%d of %d mutations accepted", accepted, count)
	if accepted < count/20 || accepted > count*19/20 {
		t.Error("too one-sided to say much")
	}
}

// A pieceReader delivers b in pieces of random size.
type pieceReader struct {
	b   []byte
	rnd *rand.Rand
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b[:1+r.rnd.IntN(len(r.b))])
	r.b = r.b[n:]
	return n, nil
}

// mutate returns one of the hellos, changed in one to three ways: half of
// these keep the lengths around the change true, so that it gets that deep.
func mutate(rnd *rand.Rand, hellos [][]byte) []byte {
	b := slices.Clone(hellos[rnd.IntN(len(hellos))])
	for range 1 + rnd.IntN(3) {
		switch rnd.IntN(4) {
		case 0:
			b = mutateBytes(rnd, b)
		case 1:
			b = mutateRecords(rnd, b)
		default:
			b = mutateExtensions(rnd, b)
		}
	}
	return b
}

func mutateBytes(rnd *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return []byte{byte(rnd.Uint32())}
	}
	i := rnd.IntN(len(b))
	j := min(len(b), i+1+rnd.IntN(16))
	switch rnd.IntN(5) {
	case 0:
		b[i] = byte(rnd.Uint32())
	case 1:
		b[i] ^= 1 << rnd.IntN(8)
	case 2:
		return slices.Delete(b, i, j)
	case 3:
		return slices.Insert(b, i, slices.Clone(b[i:j])...)
	case 4:
		return b[:i]
	}
	return b
}

func mutateRecords(rnd *rand.Rand, b []byte) []byte {
	recs := recordsOf(b)
	if len(recs) == 0 {
		return b
	}
	i := rnd.IntN(len(recs))
	switch rnd.IntN(4) {
	case 0: // other boundaries
		var out []byte
		for msg := recs[i][5:]; len(msg) > 0; {
			n := 1 + rnd.IntN(min(len(msg), 1+rnd.IntN(1<<14)))
			out = append(out, record(recs[i][0], msg[:n])...)
			msg = msg[n:]
		}
		recs[i] = out
	case 1: // warnings in between
		warning := record(21, []byte{1, byte(rnd.IntN(120))})
		recs = slices.Insert(recs, i, bytes.Repeat(warning, rnd.IntN(20)))
	case 2: // a record of another kind or of no length
		recs = slices.Insert(recs, i, record(byte(20+rnd.IntN(4)), make([]byte, rnd.IntN(3))))
	case 3: // something behind it
		recs = append(recs, record(23, make([]byte, rnd.IntN(100))))
	}
	return cat(recs...)
}

// mutateExtensions changes the extensions of a hello in one record, with all
// lengths set right again.
func mutateExtensions(rnd *rand.Rand, b []byte) []byte {
	recs := recordsOf(b)
	if len(recs) == 0 || len(recs[0]) < 5+4+34 {
		return b
	}
	body := recs[0][5+4:]
	at := 34
	skip := func(size int) {
		if at+size <= len(body) {
			n := int(body[at])
			if size == 2 {
				n = int(binary.BigEndian.Uint16(body[at:]))
			}
			at += size + n
		}
	}
	skip(1)
	skip(2)
	skip(1)
	if at+2 > len(body) {
		return b
	}
	var exts [][]byte
	for s := body[at+2:]; len(s) >= 4; {
		n := min(4+int(binary.BigEndian.Uint16(s[2:])), len(s))
		exts = append(exts, s[:n])
		s = s[n:]
	}
	if len(exts) == 0 {
		return b
	}
	i, j := rnd.IntN(len(exts)), rnd.IntN(len(exts))
	names := []string{"a.test", "a.test.", "a.test..", ".", "A.Test", "x\x00y", ""}
	switch rnd.IntN(7) {
	case 0:
		exts = slices.Delete(exts, i, i+1)
	case 1:
		exts = slices.Insert(exts, i, exts[j])
	case 2:
		exts[i], exts[j] = exts[j], exts[i]
	case 3: // another type
		exts[i] = cat(u16(rnd.IntN(60)), exts[i][2:])
	case 4: // other data
		exts[i] = ext(int(binary.BigEndian.Uint16(exts[i])), mutateBytes(rnd, slices.Clone(exts[i][4:])))
	case 5:
		exts[i] = serverName(names[rnd.IntN(len(names))])
	case 6: // many unknown ones
		for range rnd.IntN(12) {
			exts = slices.Insert(exts, 0, ext(0x1000+rnd.IntN(100)))
		}
	}
	msg := handshake(recs[0][5], cat(body[:at], vec16(exts...)))
	return cat(append([][]byte{split(msg, 1<<14)}, recs[1:]...)...)
}

// FuzzParse: Parse agrees with crypto/tls, Read with Parse, and the answer on
// a prefix is ErrIncomplete or the answer on the whole. Run it with
// -fuzzminimizetime 20x: what crypto/tls covers varies a little from run to
// run, and minimizing, 60 s for each find, would be most of the time.
func FuzzParse(f *testing.F) {
	for _, b := range golden(f) {
		f.Add(b, 1)
	}
	f.Add(split(message(serverName("a.test.")), 7), 3)
	f.Add(cat(record(21, []byte{1, 90}), record(22, message())), 5)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		h, err := sni.Parse(b)
		if !bytes.Equal(h.Raw, b) {
			t.Error("Raw is not what was parsed")
		}
		if why := disagreement(b, h, err); why != "" {
			t.Error(why)
		}
		read, rerr := sni.Read(&wire{r: bytes.NewReader(b)}, make([]byte, 16))
		sameAsParse(t, b, h, err, read, rerr)

		prefix := b[:uint(cut)%uint(len(b)+1)]
		p, perr := sni.Parse(prefix)
		if perr != sni.ErrIncomplete && (perr != err || string(p.ServerName) != string(h.ServerName)) {
			t.Errorf("the first %d of %d bytes: %v, all: %v", len(prefix), len(b), perr, err)
		}
	})
}
