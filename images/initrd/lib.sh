# shellcheck shell=sh disable=SC3043
# Shared by the initrd and by the node agent: console, values, HTTP, reports.
#
# POSIX sh plus `local`; runs in busybox sh and in dash. Every external tool used here is a busybox applet, for the
# initrd has nothing else. HTTP exchanges go through `nc`, because busybox `wget` throws the body of an error answer
# away, and that body is the reason that the person in front of the machine must read. What runs often uses builtins
# only: under emulation a process costs 30 ms, and that is where most of the tests' boots happen.

NB_RUN="${NB_RUN:-/run/netboot}"
NB_SYS="${NB_SYS:-/sys}"
NB_PROC="${NB_PROC:-/proc}"
NB_HTTP_TIMEOUT="${NB_HTTP_TIMEOUT:-15}"
# Bytes, not characters, are counted below.
export LC_ALL=C
# A whole answer is held in RAM; a configuration carries files of the operator, nothing larger.
NB_HTTP_LIMIT="${NB_HTTP_LIMIT:-67108864}"

# --- console ---------------------------------------------------------------------------------------------------

# nb_find_consoles: set NB_CONSOLES to the kernel's consoles, once: somebody may look at the screen while another
# looks at the serial line.
nb_find_consoles() {
	local name names=''
	[ -z "${NB_CONSOLES:-}" ] || return 0
	NB_CONSOLES=''
	[ ! -r "$NB_SYS/class/tty/console/active" ] || read -r names <"$NB_SYS/class/tty/console/active" || true
	for name in $names; do
		[ ! -w "/dev/$name" ] || NB_CONSOLES="$NB_CONSOLES /dev/$name"
	done
	[ -n "$NB_CONSOLES" ] || NB_CONSOLES=/dev/stdout
}

# nb_print TEXT: write TEXT to each console.
nb_print() {
	local console
	nb_find_consoles
	for console in $NB_CONSOLES; do
		if [ "$console" = /dev/stdout ]; then printf '%s' "$1"; else printf '%s' "$1" 2>/dev/null >>"$console" || true; fi
	done
}

NB_NEWLINE='
'
NB_RETURN="$(printf '\r')"

# Serial lines want a carriage return too: the kernel's tty adds it only where a terminal was set up.
say() { nb_print "${NB_RETURN}netboot: $*${NB_RETURN}${NB_NEWLINE}"; }

# nb_step NAME TEXT: one line for people and for whatever reads the serial line.
nb_step() { say "step $1: $2"; }

# nb_clean: standard input without control characters, bounded; what came from the network is shown through this.
nb_clean() { head -c 2000 | tr '\n\t\r' '   ' | tr -cd '\040-\176'; }

# --- values ----------------------------------------------------------------------------------------------------

# nb_put NAME VALUE: one value per file under /run/netboot, readable by root only.
nb_put() {
	(umask 077 && printf '%s\n' "$2" >"$NB_RUN/.$1.new") && mv "$NB_RUN/.$1.new" "$NB_RUN/$1"
}

# nb_get NAME: print the first line of a value, nothing when it is not there.
nb_get() {
	local value=''
	[ ! -f "$NB_RUN/$1" ] || IFS= read -r value <"$NB_RUN/$1" || true
	printf '%s' "$value"
}

# nb_parameter NAME: value of NAME=... on the kernel command line; the last one wins, as in the kernel.
nb_parameter() {
	local line='' word value='' found=1
	IFS= read -r line <"$NB_PROC/cmdline" || true
	# The line is split on blanks on purpose; globbing is off meanwhile.
	set -f
	for word in $line; do
		case "$word" in
		"$1="*) value="${word#*=}" found=0 ;;
		"$1") value=1 found=0 ;;
		esac
	done
	set +f
	printf '%s' "$value"
	return "$found"
}

# nb_match VALUE ERE: does the whole VALUE (one line) match? For rare checks; the frequent ones below start no process.
nb_match() {
	case "$1" in *"$NB_NEWLINE"*) return 1 ;; esac
	printf '%s\n' "$1" | grep -Eqx -- "$2"
}

# nb_only VALUE BAD-PATTERN LENGTH: not empty, nothing that matches the pattern, at most LENGTH characters.
nb_only() {
	# shellcheck disable=SC2254 # the pattern is meant as one
	case "$1" in '' | $2) return 1 ;; esac
	[ "${#1}" -le "$3" ]
}

# The node's name goes into files and commands: RFC 1123 labels, at most 253 characters.
nb_is_name() {
	[ "${#1}" -le 253 ] && nb_match "$1" '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*'
}
nb_is_mac() { nb_match "$1" '([0-9a-f]{2}:){5}[0-9a-f]{2}'; }
nb_is_sha256() { nb_only "$1" '*[!0-9a-f]*' 64 && [ "${#1}" -eq 64 ]; }
nb_is_number() { nb_only "$1" '*[!0-9]*' 15; }
nb_is_url() {
	nb_match "$1" 'http://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/%+:@-]*)?'
}
nb_is_ipv4() {
	nb_match "$1" '((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])'
}

# The appliance itself may be reached over TLS; then it is the operator's CA alone that is trusted.
nb_is_server() { nb_is_url "http://${1#http*://}" && nb_match "$1" 'https?://.*'; }

# nb_uptime: set NB_UPTIME to the seconds since the machine started; unlike the clock it never jumps.
nb_uptime() {
	read -r NB_UPTIME _ <"$NB_PROC/uptime"
	NB_FRACTION="${NB_UPTIME#*.}"
	NB_UPTIME="${NB_UPTIME%%.*}"
}
nb_seconds() {
	nb_uptime
	printf '%s' "$NB_UPTIME"
}

# nb_epoch: set NB_EPOCH to the time of day as SECONDS.HUNDREDTHS. The clock is asked once (nb_clock asks again).
nb_epoch() {
	nb_uptime
	[ -n "${NB_STARTED:-}" ] || NB_STARTED=$(($(date +%s) - NB_UPTIME))
	NB_EPOCH="$((NB_STARTED + NB_UPTIME)).$NB_FRACTION"
}

# nb_random BELOW: a number from 0 to BELOW-1.
nb_random() {
	local number
	number="$(od -An -N2 -tu2 /dev/urandom 2>/dev/null | tr -cd '0-9')"
	echo $((${number:-0} % $1))
}

# nb_backoff ATTEMPT: sleep 1, 2, 4, 8, 8 ... seconds plus up to as much again, so that a rack does not knock in step.
nb_backoff() {
	local base=1 count="$1"
	while [ "$count" -gt 1 ] && [ "$base" -lt 8 ]; do
		base=$((base * 2))
		count=$((count - 1))
	done
	sleep $((base + $(nb_random $((base + 1)))))
}

# --- JSON ------------------------------------------------------------------------------------------------------

# json_string: standard input as a JSON string with its quotes; line ends become \n, other control characters go.
json_string() {
	printf '"'
	tr -d '\000-\010\013-\037\177' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/	/\\t/g' |
		awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
	printf '"'
}

# json_text TEXT: the same for a short text of ASCII characters; anything else in it goes.
json_text() {
	case "$1" in
	*[!A-Za-z0-9\ .,:\;_/\(\)+=%-]*) printf '%s' "$1" | nb_clean | json_string ;;
	*) printf '"%s"' "$1" ;;
	esac
}

# json_value NAME TEXT: a string value of a flat JSON object; nothing when it is not there.
json_value() { printf '%s' "$2" | tr '\n' ' ' | sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p'; }

# --- HTTP ------------------------------------------------------------------------------------------------------

# nb_url_split URL: set URL_SCHEME, URL_HOST, URL_PORT, URL_PATH, URL_AUTHORITY.
nb_url_split() {
	local rest="${1#*://}" usual=80
	URL_SCHEME="${1%%://*}"
	[ "$URL_SCHEME" = http ] || usual=443
	URL_AUTHORITY="${rest%%/*}"
	case "$rest" in */*) URL_PATH="/${rest#*/}" ;; *) URL_PATH=/ ;; esac
	case "$URL_AUTHORITY" in
	\[*\]:*) URL_HOST="${URL_AUTHORITY#\[}" URL_HOST="${URL_HOST%%\]*}" URL_PORT="${URL_AUTHORITY##*:}" ;;
	\[*\]) URL_HOST="${URL_AUTHORITY#\[}" URL_HOST="${URL_HOST%\]}" URL_PORT="$usual" ;;
	*:*) URL_HOST="${URL_AUTHORITY%%:*}" URL_PORT="${URL_AUTHORITY##*:}" ;;
	*) URL_HOST="$URL_AUTHORITY" URL_PORT="$usual" ;;
	esac
}

# nb_ca_file: the CA that this machine trusts: the one built into the image, else the one that came with the seed.
nb_ca_file() {
	local built="${NB_CA_FILE:-/etc/netboot/boot-ca.pem}"
	if [ -s "$built" ]; then printf '%s' "$built"; else printf '%s' "$NB_RUN/ca.pem"; fi
}

# nb_wire: be the program that carries standard input to URL_HOST and its answer to standard output. Certificates are
# not asked for their time: bare metal often wakes up in another year, and the CA is the operator's own.
nb_wire() {
	local name=-verify_hostname host="$URL_HOST"
	[ "$URL_SCHEME" = https ] || exec timeout "$NB_HTTP_TIMEOUT" busybox nc "$URL_HOST" "$URL_PORT"
	case "$host" in
	*:*) name=-verify_ip host="[$host]" ;;
	*) ! nb_is_ipv4 "$host" || name=-verify_ip ;;
	esac
	exec timeout "$NB_HTTP_TIMEOUT" openssl s_client -quiet -connect "$host:$URL_PORT" -CAfile "$(nb_ca_file)" \
		-no-CApath -no-CAstore -verify_return_error -no_check_time "$name" "$URL_HOST"
}

# http_request METHOD URL TYPE BODY OUT: one exchange. BODY is empty, a text of ASCII characters, or @FILE; the answer's
# body goes to OUT unless that is empty. HTTP_STATUS, HTTP_RETRY_AFTER and HTTP_DATE are set. Status 1 and HTTP_ERROR
# when no whole answer came. NB_AUTHORIZATION, when set, is the bearer token. NB_HTTP_WORK names the files between, so
# that two exchanges can run beside each other. The URL is one that nb_is_server has accepted.
http_request() {
	local method="$1" url="$2" type="$3" body="$4" out="$5" length work status=0
	work="$NB_RUN/.http-${NB_HTTP_WORK:-main}"
	HTTP_STATUS='' HTTP_RETRY_AFTER='' HTTP_DATE='' HTTP_ERROR=''
	nb_url_split "$url"
	case "$body" in
	@*) length="$(stat -c %s "${body#@}")" ;;
	*) length="${#body}" ;;
	esac
	# nc closes its sending side at the end of its input, which many servers take for a client that went away. So its
	# input is a pipe that this shell keeps open; a request is smaller than a pipe's 64 KiB.
	[ -p "$work.pipe" ] || mkfifo -m 0600 "$work.pipe" || {
		HTTP_ERROR="no room left in $NB_RUN"
		return 1
	}
	exec 9<>"$work.pipe"
	{
		printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: netboot-node\r\n' \
			"$method" "$URL_PATH" "$URL_AUTHORITY"
		[ -z "${NB_AUTHORIZATION:-}" ] || printf 'Authorization: Bearer %s\r\n' "$NB_AUTHORIZATION"
		[ -z "$body" ] || printf 'Content-Type: %s\r\nContent-Length: %s\r\n' "$type" "$length"
		printf '\r\n'
		case "$body" in
		@*) cat "${body#@}" ;;
		*) printf '%s' "$body" ;;
		esac
	} >&9
	# The answer's size is bounded by a file size limit: the machine's RAM is not the sender's.
	(
		umask 077
		# shellcheck disable=SC3045
		ulimit -f $((NB_HTTP_LIMIT / 512))
		nb_wire <&9 9>&- >"$work.answer" 2>"$work.error"
	) || status=$?
	exec 9>&-
	http_answer "$work.answer" "$out" || HTTP_ERROR="$(http_failure "$status" "$work.error")"
	[ -z "$HTTP_ERROR" ]
}

# http_failure STATUS ERRORS: say in words why no whole answer came.
http_failure() {
	if grep -q 'verify error' "$2"; then
		printf 'the certificate of %s is not trusted (%s): did the CA in server.boot_https.ca sign it, for this address?' \
			"$URL_AUTHORITY" "$(grep 'verify error' "$2" | head -n 1 | nb_clean)"
		return
	fi
	case "$1" in
	124 | 143) printf 'no answer from %s within %s s' "$URL_AUTHORITY" "$NB_HTTP_TIMEOUT" ;;
	0) printf 'the answer of %s was cut off or is not HTTP' "$URL_AUTHORITY" ;;
	*) printf '%s: %s' "$URL_AUTHORITY" "$(nb_clean <"$2")" ;;
	esac
}

# http_answer ANSWER OUT: split head and body. The shell's `read` takes byte by byte, so `cat` begins at the body.
http_answer() {
	local line length='' count=0
	[ -s "$1" ] || return 1
	{
		IFS= read -r line || return 1
		case "$line" in
		"HTTP/1."[01]" "[1-5][0-9][0-9] | "HTTP/1."[01]" "[1-5][0-9][0-9][!0-9]*) ;;
		*) return 1 ;;
		esac
		line="${line#* }"
		HTTP_STATUS="${line%"${line#???}"}"
		while IFS= read -r line; do
			line="${line%"$NB_RETURN"}"
			[ -n "$line" ] || break
			count=$((count + 1))
			[ "$count" -le 100 ] || return 1
			case "$line" in
			[Cc]ontent-[Ll]ength:*) length="${line#*:}" length="${length# }" ;;
			[Rr]etry-[Aa]fter:*) HTTP_RETRY_AFTER="${line#*:}" HTTP_RETRY_AFTER="${HTTP_RETRY_AFTER# }" ;;
			[Dd]ate:*) HTTP_DATE="${line#*: }" ;;
			[Tt]ransfer-[Ee]ncoding:*) return 1 ;;
			esac
		done
		[ -z "$2" ] || cat >"$2"
	} <"$1"
	[ -n "$2" ] && [ -n "$length" ] || return 0
	nb_is_number "$length" && [ "$(stat -c %s "$2")" -eq "$length" ]
}

# nb_retry_after: seconds to wait that a 503 asked for, from 1 to 60.
nb_retry_after() {
	local seconds="${HTTP_RETRY_AFTER:-2}"
	nb_is_number "$seconds" || seconds=5
	[ "$seconds" -ge 1 ] || seconds=1
	[ "$seconds" -le 60 ] || seconds=60
	echo "$seconds"
}

# --- reports ---------------------------------------------------------------------------------------------------

# nb_report STEP BYTES OF DETAIL FAILED: tell the appliance once; BYTES and OF may be empty. Never ends a boot itself.
nb_report() {
	local session server body
	session="$(nb_get session)"
	server="$(nb_get server)"
	HTTP_STATUS=''
	[ -n "$session" ] && [ -n "$server" ] || return 1
	nb_epoch
	body="{\"step\":\"$1\",\"at\":$NB_EPOCH,\"bytes\":${2:-null},\"of\":${3:-null},\"detail\":$(json_text "$4"),\"failed\":${5:-false}}"
	NB_AUTHORIZATION="$session" NB_HTTP_TIMEOUT=5 NB_HTTP_WORK="${NB_HTTP_WORK:-report}" \
		http_request POST "$server/boot/report" application/json "$body" '' || return 1
	[ "$HTTP_STATUS" = 204 ] || [ "$HTTP_STATUS" = 200 ]
}

# nb_report_surely ...: the end of a step is worth some patience, for the appliance may be restarting.
nb_report_surely() {
	local attempt=1
	while ! nb_report "$@"; do
		case "$HTTP_STATUS" in 4*) return 1 ;; esac
		[ -n "$(nb_get session)" ] && [ "$attempt" -lt "${NB_REPORT_ATTEMPTS:-6}" ] || return 1
		nb_backoff "$attempt"
		attempt=$((attempt + 1))
	done
}

# nb_log FILE: send the last 32 KiB of a text file to the appliance's log of this boot; best effort.
nb_log() {
	local session file="$NB_RUN/.log"
	session="$(nb_get session)"
	[ -n "$session" ] && [ -s "$1" ] || return 0
	(umask 077 && tail -c 32768 "$1" | tr -d '\000-\010\013-\037\177' >"$file") || return 0
	NB_AUTHORIZATION="$session" NB_HTTP_TIMEOUT=5 \
		http_request POST "$(nb_get server)/boot/log" text/plain "@$file" '' || true
	rm -f "$file"
}

# --- the end of a boot that did not work ------------------------------------------------------------------------

# nb_fail STEP TEXT: report, say why and what to do, then a shell or a restart. STEP `claim` cannot be reported.
nb_fail() {
	local wait
	say "FAILED at step $1: $2"
	case "$1" in
	squashfs | config | network_script | join) nb_report_surely "$1" '' '' "$2" true || say "the appliance could not be told" ;;
	esac
	if [ "$(nb_parameter netboot.debug_shell)" = 1 ]; then
		say "netboot.debug_shell=1: a shell follows; leave it with 'exit' to restart the machine"
		nb_shell
	fi
	wait="$(nb_parameter netboot.reboot_after)" || wait="${NB_FAIL_WAIT:-30}"
	nb_is_number "$wait" || wait=30
	say "what to do: read the reason above and the boot's timeline on the appliance (netboot boot show). Restarting in $wait s."
	sleep "$wait"
	nb_reboot
}

nb_shell() { setsid cttyhack sh </dev/console >/dev/console 2>&1 || sh </dev/console >/dev/console 2>&1; }

nb_reboot() {
	sync
	${NB_REBOOT:-busybox reboot -f}
	exit 1
}
