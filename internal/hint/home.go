package hint

// homes returns the rows of visitors who come without a relay.
func homes() []*Advice { return []*Advice{HomeLowPort, HomePortInUse, HomeElsewhere} }

// The advice for --listen.
var (
	HomeLowPort = &Advice{
		Shown: "listen on …: … permission denied",
		Means: "with `--listen`: ports below 1024 need a privilege on many systems",
		Do: []string{"give the program the privilege for ports: sudo setcap cap_net_bind_service=+ep FILE, or the drop-in for its systemd unit in docs/straight-home.md",
			"or listen on another port, such as --listen :8443, and let the router forward port 443 to it"},
	}
	HomePortInUse = &Advice{
		Shown: "listen on …: … address already in use",
		Means: "with `--listen`",
		Do:    []string{"another program has this port: find it with ss -ltnp, or choose another address for --listen"},
	}
	HomeElsewhere = &Advice{
		Shown: "listen on …: … cannot assign requested address",
		Means: "with `--listen`",
		Do:    []string{"no interface of this device has that address: see ip addr; without a host, as in :443, it is every address"},
	}
)
