#!/bin/sh
# Installs what the whole test suite needs besides Go, git and make, on Debian
# and its kin. Does nothing, at once, when all of it is there. Without root it
# prints the line to run and exits 1.
set -eu

# Some of the programs live where only root's PATH looks.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing=

# need PACKAGE PROGRAM...: one of the programs will do.
need() {
	package=$1
	shift
	for program; do
		if command -v "$program" >/dev/null 2>&1; then
			return
		fi
	done
	missing="$missing $package"
}

need chromium chromium chromium-browser google-chrome
need firefox-esr firefox-esr firefox
need libnss3-tools certutil
need gnutls-bin gnutls-cli
need curl curl
need jq jq
need "gcc libc6-dev" gcc clang
need openssl openssl
need openssh-client ssh
need openssh-server sshd
need rsync rsync
need iproute2 ip
need python3 python3
need nodejs node nodejs
need npm npm
need age age
need nsd nsd
need bind9 named
need bind9-dnsutils dig
need knot knotd
need "pdns-server pdns-backend-sqlite3" pdns_server
need sqlite3 sqlite3
need redis-server redis-server
need nginx-light nginx
need haproxy haproxy
need prometheus prometheus
need prometheus promtool
need ca-certificates update-ca-certificates

if [ -z "$missing" ]; then
	exit 0
fi

install="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
	echo "install-deps: not installed:$missing" >&2
	echo "hint: install what these Debian packages hold, by your system's own means" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "install-deps: not installed:$missing" >&2
	echo "hint: sudo sh -c 'apt-get update && $install'" >&2
	exit 1
fi

# The tests start these themselves: installing them is not to start them on this
# machine.
servers=
for server in nsd bind9:named knot pdns-server:pdns redis-server nginx-light:nginx haproxy prometheus openssh-server:ssh; do
	case "$missing " in *" ${server%:*} "*) servers="$servers ${server#*:}.service" ;; esac
done
case $servers in *ssh.service*) servers="$servers ssh.socket" ;; esac
unit() {
	if [ -n "$servers" ] && command -v systemctl >/dev/null 2>&1; then
		# The list has to be split.
		# shellcheck disable=SC2086
		systemctl "$@" $servers >/dev/null 2>&1 || true
	fi
}

export DEBIAN_FRONTEND=noninteractive
apt-get update
unit mask
# The list is made of the words above and has to be split.
# shellcheck disable=SC2086
apt-get install -y --no-install-recommends $missing
unit unmask
unit disable
