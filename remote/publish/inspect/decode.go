package inspect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
)

const (
	// maxDecoded is how much of a decoded body is shown, in bytes. A small one may stand
	// for gigabytes: what is behind is not even decoded.
	maxDecoded = 1 << 20
	// maxInflated is how much of the messages in one body is decoded for one page, in bytes.
	maxInflated = 8 << 20
	// maxCodings is how many codings of one body are undone.
	maxCodings = 3
)

// A plainBody is a body without its codings, as far as that is possible.
type plainBody struct {
	Bytes   []byte
	Codings string // that were undone
	Wrong   string // why a coding was not, for people
	Cut     bool   // there is more than what is here

	work int // what it was to undo codings, as bytes that are made
}

const (
	// codingWork is what undoing a coding is at least, as bytes that are made, and
	// brokenWork one that is not whole: of brotli a few bytes may ask for a window of 16
	// MiB, and give nothing.
	codingWork, brokenWork = 16 << 10, 1 << 20
)

// decoded undoes the codings of what is kept of a message's body.
func decoded(m *message) plainBody {
	p := plainBody{Bytes: m.body, Cut: m.cut()}
	var codings []string
	for name, values := range m.header {
		if !strings.EqualFold(name, "Content-Encoding") {
			continue
		}
		for c := range strings.SplitSeq(strings.Join(values, ","), ",") {
			if c = strings.ToLower(strings.TrimSpace(c)); c != "" && c != "identity" {
				codings = append(codings, c)
			}
		}
	}
	if len(codings) == 0 || len(m.body) == 0 {
		return p
	}
	if len(codings) > maxCodings {
		p.Wrong = "it has too many codings"
		return p
	}
	for _, c := range slices.Backward(codings) {
		out, more, err := undo(c, p.Bytes)
		if p.work += codingWork + len(out); err != nil {
			p.work += brokenWork
		}
		switch {
		case errors.Is(err, errCoding):
			p.Wrong = "the coding " + c + " is not known here"
			return p
		case len(out) == 0 && err != nil && !p.Cut:
			p.Wrong = "it is not well formed " + c
			return p
		case err != nil && !p.Cut:
			p.Wrong = "it breaks off in the middle of " + c
		}
		p.Bytes, p.Cut = out, p.Cut || more
	}
	p.Codings = strings.Join(codings, ", ")
	return p
}

var errCoding = errors.New("unknown coding")

// undo undoes one coding, up to maxDecoded, and reports whether there is more. With an
// error there may be a beginning.
func undo(coding string, p []byte) (out []byte, more bool, err error) {
	var r io.Reader
	switch coding {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(bytes.NewReader(p))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(p))
		if err != nil { // as many send it
			r, err = flate.NewReader(bytes.NewReader(p)), nil
		}
	case "br":
		r = brotli.NewReader(bytes.NewReader(p))
	default:
		return nil, false, errCoding
	}
	if err != nil {
		return nil, false, err
	}
	out, err = io.ReadAll(io.LimitReader(r, maxDecoded+1))
	if len(out) > maxDecoded {
		return out[:maxDecoded], true, nil
	}
	return out, false, err
}

// inflated undoes what permessage-deflate (RFC 7692) and gRPC have done to messages of
// one direction: of WebSockets each goes on where the last one was, as long as all of
// them are there. Those beyond maxInflated stay as they are.
func inflated(c *content, h http.Header) []frame {
	list := slices.Clone(c.frames)
	left := maxInflated
	if !c.switched {
		coding := first(h, "Grpc-Encoding")
		for i := range list {
			f := &list[i]
			if !f.compressed || f.cut() || left <= 0 {
				continue
			}
			out, more, err := undo(coding, f.data)
			if left -= len(out); err == nil {
				f.data, f.compressed = beginning(out), false
				f.size = max(f.size, int64(len(out)))
				if more {
					f.size = max(f.size, maxDecoded+1)
				}
			}
		}
		return list
	}
	inflate(list, true, c.unframed > 0, &left)
	inflate(list, false, c.unframed > 0, &left)
	return list
}

// beginning is what is shown of a decoded message. It does not hold the rest of it.
func beginning(p []byte) []byte { return bytes.Clone(p[:min(len(p), maxFrame)]) }

// window is how far back permessage-deflate may lead, in bytes.
const window = 32 << 10

// inflate undoes permessage-deflate for the messages of one direction. Where a message
// is not whole, those behind it may lean on what is not there: they stay as they are
// unless they can be read without. It takes what it decodes off left, in bytes, and ends
// where that is used up.
func inflate(list []frame, fromDevice, lost bool, left *int) {
	var before, out bytes.Buffer
	r := flate.NewReader(bytes.NewReader(nil))
	for i := 0; i < len(list) && *left > 0; i++ {
		f := &list[i]
		if f.fromDevice != fromDevice || !f.compressed {
			continue
		}
		if f.more || f.cut() {
			lost = true
			continue
		}
		dict := before.Bytes()
		if dict = dict[max(0, len(dict)-window):]; lost {
			dict = nil
		}
		in := io.MultiReader(bytes.NewReader(f.data), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
		out.Reset()
		err := r.(flate.Resetter).Reset(in, dict)
		if err == nil {
			_, err = out.ReadFrom(io.LimitReader(r, maxDecoded+1))
		}
		if *left -= out.Len(); err != nil || out.Len() > maxDecoded {
			lost = true
			continue
		}
		before.Write(out.Bytes()[max(0, out.Len()-window):])
		if before.Len() > 2*window {
			before.Next(before.Len() - window)
		}
		f.size, f.data, f.compressed = int64(out.Len()), beginning(out.Bytes()), false
	}
}
