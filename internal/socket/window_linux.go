package socket

import (
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// SendWindow returns how many bytes the TCP connection c sends before its peer
// acknowledges any, and whether that stays so while c is idle: by its congestion
// control, as with BBR, or because the system lets all connections do so. Where c is no
// TCP connection it returns 0 and false.
func SendWindow(c net.Conn) (n int, lasts bool) {
	control(c, func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		name, _ := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		n, lasts = int(info.Snd_cwnd)*int(info.Snd_mss), keepsWindow(name) || setting("tcp_slow_start_after_idle") == "0"
	})
	return n, lasts
}

// WindowsLast reports whether new TCP connections of this system keep their window while
// they are idle. Known is false where the system does not say.
func WindowsLast() (last, known bool) {
	idle, name := setting("tcp_slow_start_after_idle"), setting("tcp_congestion_control")
	return idle == "0" || keepsWindow(name), idle != "" && name != ""
}

// keepsWindow reports whether this congestion control, by its name, keeps what it has
// learned of a connection that is idle, whatever tcp_slow_start_after_idle says.
func keepsWindow(name string) bool { return strings.HasPrefix(name, "bbr") }

// setting returns a setting of the system's TCP, of this process's network namespace, or
// "". What is below ipv4 is for IPv6 too.
func setting(name string) string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
