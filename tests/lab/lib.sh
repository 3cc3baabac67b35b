# SPDX-License-Identifier: GPL-2.0-or-later
# Helpers for the lab's test scripts.

fail() {
	echo "lab: $*"
	exit 1
}

# A program with what it says to /tmp/out and ours; its status is $code. The limit is the program's
# own: a guest that hangs must not run on beside the next test, and what it said must be seen.
watched() {
	code=0
	rm -f /tmp/out
	timeout -s KILL "$LIMIT" "$@" >/tmp/out 2>&1 </dev/null || code=$?
	cat /tmp/out
	echo "lab: $1 ended with status $code"
	[ $code != 137 ] || fail "it was still running after $LIMIT seconds"
}

# A berthd whose socket is /tmp/d/libvirt-sock and whose log is /tmp/log.
daemon() {
	rm -f /tmp/d/libvirt-sock
	berthd --debug --socket-dir /tmp/d --state-dir /tmp/d/state >>/tmp/log 2>&1 &
	for second in $(seq 60); do
		[ -S /tmp/d/libvirt-sock ] && return
		sleep 1
	done
	fail "no daemon: $(cat /tmp/log)"
}

vmm() {
	watched berth-vmm -m 256 -nographic -no-reboot "$@"
}
