// Package result is what the benchmark measures, its form as JSON, and what is
// made of it: medians, tables and a picture.
package result

// A Measurement is one measurement of one subject. A field that does not apply
// is zero, and not in the JSON.
type Measurement struct {
	// Test is down, up, fetch, beside, conn, keepalive, busy, idle_remote,
	// idle_visitor or route; hop_down, hop_conn or hop_keepalive beside two processes
	// between; home_keepalive, home_conn, home_conn_x25519 or home_down where a whole
	// service is behind it; scale where there is ever more of one thing.
	Test string `json:"test"`
	// Subject is direct, haproxy, haproxy-pipes, tcpproxy, session, lanes, or relay
	// for a relay alone; haproxy-twice, hop-session or hop-lanes with two processes
	// between, whose times are added up; for home it is programs, caddy, nginx or another tunnel.
	Subject string `json:"subject"`
	// Link is loopback or wan.
	Link string `json:"link"`
	// Round counts from 1.
	Round int `json:"round"`

	// Where says, on a wan, between which two the delay is: relay-remote,
	// visitor-relay or both.
	Where string `json:"where,omitempty"`
	// Congestion is the algorithm of all TCP connections on a wan.
	Congestion string `json:"congestion,omitempty"`
	// Loss is the share of packets that are lost on a wan, in per cent.
	Loss float64 `json:"loss_percent,omitempty"`
	// Case tells apart what is otherwise the same: for route, whether the name
	// is there or unknown; for scale, what there is ever more of.
	Case string `json:"case,omitempty"`
	// Names is how many names the relay knows, for route.
	Names int `json:"names,omitempty"`

	// Flows is how many connections there are at once.
	Flows int `json:"flows,omitempty"`
	// Mbps is what visitors get or send in all, in 10^6 bits per second,
	// without TLS.
	Mbps float64 `json:"mbps,omitempty"`
	// RelayCPU and RemoteCPU are the processor time of the process between, and
	// of the one that serves the site, for each 2^30 bytes.
	RelayCPU  float64 `json:"relay_cpu_s_per_gib,omitempty"`
	RemoteCPU float64 `json:"remote_cpu_s_per_gib,omitempty"`

	// ConnPerS is how many new connections are served, each with a full TLS
	// handshake and one small request.
	ConnPerS float64 `json:"conn_per_s,omitempty"`
	// RelayCPUPerConn is the processor time of the process between for each.
	RelayCPUPerConn float64 `json:"relay_cpu_ms_per_conn,omitempty"`
	// RemoteCPUPerConn is that of the process at home for each, for home_conn and
	// home_conn_x25519.
	RemoteCPUPerConn float64 `json:"remote_cpu_ms_per_conn,omitempty"`

	// Count is how many latencies the next three are of.
	Count int     `json:"count,omitempty"`
	P50   float64 `json:"p50_us,omitempty"`
	P99   float64 `json:"p99_us,omitempty"`
	P999  float64 `json:"p999_us,omitempty"`
	// PerS is how many requests are answered in a second, on all connections, for
	// home_keepalive. RelayCPUEach and RemoteCPUEach are the processor time of the
	// process between and of the one at home for each request.
	PerS          float64 `json:"requests_per_s,omitempty"`
	RelayCPUEach  float64 `json:"relay_cpu_us_each,omitempty"`
	RemoteCPUEach float64 `json:"remote_cpu_us_each,omitempty"`
	// First is the one before these, for fetch: over a session that has carried
	// nothing yet.
	First float64 `json:"first_us,omitempty"`

	// Each is how many idle links or visitors the next ones are of.
	Each int `json:"each,omitempty"`
	// RSS is the resident memory of the process between, for each of them.
	RSS float64 `json:"rss_kib_each,omitempty"`
	// FDs are its file descriptors, for each of them.
	FDs float64 `json:"fds_each,omitempty"`
	// IdleCPU is its processor time, in per cent of one processor, for all.
	IdleCPU float64 `json:"relay_cpu_percent,omitempty"`

	// Size is how many there are of Case, for scale.
	Size int `json:"size,omitempty"`
	// Memory is all resident memory of the process between, in MiB.
	Memory float64 `json:"relay_mib,omitempty"`
	// Spent is the processor time that it needed for all of them, in seconds.
	Spent float64 `json:"relay_cpu_s,omitempty"`
}
