package inspect

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What follows is HAR 1.2, as browsers write and read it: fields that begin with an
// underscore are beside it.
type (
	har struct {
		Log harLog `json:"log"`
	}
	harLog struct {
		Version string     `json:"version"`
		Creator harCreator `json:"creator"`
		Entries []harEntry `json:"entries"`
	}
	harCreator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	harEntry struct {
		Started    time.Time    `json:"startedDateTime"`
		Time       float64      `json:"time"` // ms
		Request    harRequest   `json:"request"`
		Response   harResponse  `json:"response"`
		Cache      struct{}     `json:"cache"`
		Timings    harTimings   `json:"timings"`
		Connection string       `json:"connection,omitempty"`
		ReplayOf   uint64       `json:"_replayOf,omitempty"`
		Kind       string       `json:"_resourceType,omitempty"`
		Messages   []harMessage `json:"_webSocketMessages,omitempty"`
	}
	harRequest struct {
		Method   string    `json:"method"`
		URL      string    `json:"url"`
		Version  string    `json:"httpVersion"`
		Cookies  []harPair `json:"cookies"`
		Headers  []harPair `json:"headers"`
		Query    []harPair `json:"queryString"`
		Post     *harPost  `json:"postData,omitempty"`
		HeadSize int       `json:"headersSize"`
		BodySize int64     `json:"bodySize"`
	}
	harPost struct {
		MIME     string `json:"mimeType"`
		Text     string `json:"text"`
		Encoding string `json:"_encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	harResponse struct {
		Status     int        `json:"status"`
		StatusText string     `json:"statusText"`
		Version    string     `json:"httpVersion"`
		Cookies    []harPair  `json:"cookies"`
		Headers    []harPair  `json:"headers"`
		Content    harContent `json:"content"`
		Redirect   string     `json:"redirectURL"`
		HeadSize   int        `json:"headersSize"`
		BodySize   int64      `json:"bodySize"`
		Error      string     `json:"_error,omitempty"`
	}
	harContent struct {
		Size     int64  `json:"size"`
		MIME     string `json:"mimeType"`
		Text     string `json:"text,omitempty"`
		Encoding string `json:"encoding,omitempty"`
		Comment  string `json:"comment,omitempty"`
	}
	harPair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	harTimings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
	harMessage struct {
		Type   string  `json:"type"` // send, from the visitor, or receive
		Time   float64 `json:"time"` // s since 1970
		Opcode int     `json:"opcode"`
		Data   string  `json:"data"`
	}
)

// entryOf is an exchange as HAR has it. Without secrets there are no cookies either.
func entryOf(e *exchange, c *content, secrets bool) harEntry {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	h := harEntry{
		Started: e.began, Time: ms(c.took), ReplayOf: e.replayOf,
		Timings: harTimings{Wait: ms(c.first), Receive: max(0, ms(c.took-c.first))},
		Request: harRequest{
			Method: e.method, URL: "https://" + e.host + e.target, Version: e.proto, Cookies: []harPair{},
			Headers: harFields(c.request.header, secrets), Query: harQuery(e.target), HeadSize: -1, BodySize: c.request.size,
		},
		Response: harResponse{
			Status: c.status, StatusText: http.StatusText(c.status), Version: e.proto, Cookies: []harPair{},
			Headers: harFields(c.answer.header, secrets), Redirect: first(c.answer.header, "Location"), HeadSize: -1, BodySize: c.answer.size,
		},
	}
	if c.broken {
		h.Response.Error = "the answer broke off"
	}
	if c.request.size > 0 && !c.switched {
		text, encoding, comment := harText(&c.request, false)
		h.Request.Post = &harPost{mediaTypeOr(first(c.request.header, "Content-Type"), "application/octet-stream"), text, encoding, comment}
	}
	in := &h.Response.Content
	in.MIME = mediaTypeOr(first(c.answer.header, "Content-Type"), "x-unknown")
	if !c.switched {
		in.Text, in.Encoding, in.Comment = harText(&c.answer, true)
		in.Size = c.answer.size
		if p := decoded(&c.answer); p.Codings != "" && p.Wrong == "" {
			in.Size = int64(len(p.Bytes))
		}
		return h
	}
	h.Kind = "websocket"
	for _, f := range inflated(c, c.answer.header) {
		m := harMessage{Type: "send", Time: float64(e.began.Add(f.at).UnixMicro()) / 1e6, Opcode: opcodeOf(f.kind), Data: string(f.data)}
		if f.fromDevice {
			m.Type = "receive"
		}
		if f.kind != "text" || !isText(f.data, f.cut()) {
			m.Data = base64.StdEncoding.EncodeToString(f.data)
		}
		h.Messages = append(h.Messages, m)
	}
	return h
}

func opcodeOf(kind string) int {
	for n := range byte(16) {
		if opcode(n) == kind {
			return int(n)
		}
	}
	return 0
}

// harText is a body as text, or else as base64.
func harText(m *message, undone bool) (text, encoding, comment string) {
	b := m.body
	if p := decoded(m); undone && p.Wrong == "" {
		b = p.Bytes
	}
	if m.cut() {
		comment = "only the beginning was kept"
	}
	if isText(b, m.cut()) {
		return strings.ToValidUTF8(string(b), ""), "", comment
	}
	return base64.StdEncoding.EncodeToString(b), "base64", comment
}

func harFields(h http.Header, secrets bool) []harPair {
	list := []harPair{}
	for _, f := range fieldsOf(h) {
		if v := f.shown(secrets); secrets || !f.Secret {
			list = append(list, harPair{f.Name, v})
		}
	}
	return list
}

func harQuery(target string) []harPair {
	list := []harPair{}
	_, q, _ := strings.Cut(target, "?")
	for part := range strings.SplitSeq(q, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name == "" {
			continue
		}
		if s, err := url.QueryUnescape(name); err == nil {
			name = s
		}
		if s, err := url.QueryUnescape(value); err == nil {
			value = s
		}
		list = append(list, harPair{name, value})
	}
	return list
}
