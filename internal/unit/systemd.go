package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// systemd is u as a file of systemd. A unit of the machine is shut in as tightly as
// deploy/keystay-remote.service, but for what u needs of homes. A user's manager may not
// make the namespaces that most of this takes.
func (u *Unit) systemd() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Made by a program's own installation, which replaces it. Changes go into a drop-in:")
	line("# systemctl%s edit %s", map[bool]string{true: " --user"}[u.OfUser], u.Name)
	line("\n[Unit]\nDescription=%s", strings.ReplaceAll(u.Description, "%", "%%"))
	if !u.OfUser {
		line("Wants=network-online.target\nAfter=network-online.target")
	}
	line("# What cannot start is given up, but not before somebody had time to mend it.")
	line("StartLimitIntervalSec=1h\nStartLimitBurst=200")
	line("\n[Service]\nType=exec")
	words := []string{systemdWord(u.Program)}
	for _, a := range u.Args {
		words = append(words, strings.ReplaceAll(systemdWord(a), "$", "$$"))
	}
	line("ExecStart=%s", strings.Join(words, " "))
	line("ExecReload=/bin/kill -HUP $MAINPID")
	if u.User != "" && !u.OfUser {
		line("User=%s", u.User)
	}
	line("UMask=0077\nRestart=on-failure\nRestartSec=5s")
	if len(u.Final) > 0 {
		line("RestartPreventExitStatus=%s", strings.Join(numbers(u.Final), " "))
	}
	line("TimeoutStopSec=%ds\nLimitNOFILE=65536\n", u.stopSeconds())
	if !u.OfUser {
		if u.LowPorts { // for which the privilege counts for nothing in a user namespace
			line("AmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE")
		} else {
			line("CapabilityBoundingSet=\nPrivateUsers=yes")
		}
		line("ProtectSystem=strict")
		line("ReadWritePaths=%s", systemdWord(u.State))
		line("ProtectHome=%s", map[bool]string{true: "read-only", false: "yes"}[u.Homes])
		line("PrivateTmp=%s", map[bool]string{true: "no", false: "yes"}[u.Temporary])
		line("%s", ofMachine)
	}
	line("%s", ofAll)
	line("\n[Install]\nWantedBy=%s", map[bool]string{true: "default.target", false: "multi-user.target"}[u.OfUser])
	return b.String()
}

// ofMachine is what a unit of the machine can be kept from beside ofAll.
const ofMachine = `PrivateDevices=yes
PrivateMounts=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes`

// ofAll is what a process without any privilege can be kept from.
const ofAll = `NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM`

// stopSeconds is StopTimeout in whole seconds.
func (u *Unit) stopSeconds() int { return int(math.Ceil(u.StopTimeout.Seconds())) }

func numbers(list []int) (words []string) {
	for _, n := range list {
		words = append(words, strconv.Itoa(n))
	}
	return words
}

// systemdWord is one word of a line of systemd.
func systemdWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(s) + `"`
}

// systemdCommand returns the program and the arguments that a file of systemd has, as
// [Unit.systemd] writes it; nothing where there are none.
func systemdCommand(text string) (command []string) {
	for l := range strings.Lines(text) {
		l, ok := strings.CutPrefix(strings.TrimSpace(l), "ExecStart=")
		for ok && strings.HasPrefix(l, `"`) {
			var word strings.Builder
			i := 1
			for ; i < len(l) && l[i] != '"'; i++ {
				if i+1 < len(l) && (l[i] == '\\' || l[i] == '%' && l[i+1] == '%' || l[i] == '$' && l[i+1] == '$' && len(command) > 0) {
					i++
				}
				word.WriteByte(l[i])
			}
			command = append(command, word.String())
			l = strings.TrimSpace(l[min(i+1, len(l)):])
		}
	}
	return command
}
