package config

import "strings"

// unitOf returns a unit that the number of a key is written with, or "".
func unitOf(path string) string {
	switch path {
	case "drain_timeout", "takeover_drain":
		return "s"
	case "names.expire_unused":
		return "h"
	case "names.webhook.remember":
		return "m"
	case "memory":
		return "MiB"
	case "limits.address.identities", "limits.address.names":
		return "/day"
	case "limits.address.domains":
		return "/min"
	}
	switch key := path[strings.LastIndexByte(path, '.')+1:]; key {
	case "connect", "answer", "every", "wait":
		return "s"
	case "connection_rate", "link_rate":
		return "/s"
	case "bandwidth":
		return "MiB/s"
	case "bytes_per_month":
		return "GiB"
	}
	return ""
}
