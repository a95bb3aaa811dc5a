# shellcheck shell=sh disable=SC3043
# The node agent: fetches this node's configuration, applies it, joins. Needs lib.sh.
#
# Paths of the system begin with $ROOT (empty on a node), so that tests apply a configuration to a scratch folder.

ROOT="${ROOT:-}"
NB_CONFIG="${NB_CONFIG:-$NB_RUN/config}"
NB_CONFIG_LIMIT="${NB_CONFIG_LIMIT:-300}"
NB_NETWORK_LIMIT="${NB_NETWORK_LIMIT:-300}"
NB_JOIN_LIMIT="${NB_JOIN_LIMIT:-180}"
NB_FETCHES_MOST=5
NB_PROBLEMS=''
NB_TAB="$(printf '\t')"

# nb_problem TEXT: something declared that could not be done, but that need not stop the boot.
nb_problem() {
	say "problem: $1"
	NB_PROBLEMS="${NB_PROBLEMS:+$NB_PROBLEMS; }$1"
}

nb_has_systemd() { [ -d /run/systemd/system ] && [ -z "$ROOT" ]; }

# --- fetching --------------------------------------------------------------------------------------------------

# nb_fetch: one new configuration into NB_CONFIG. Each success counts, for the appliance allows five per boot.
nb_fetch() {
	local sealed="$NB_RUN/.config.cms" tar="$NB_RUN/.config.tar" attempt=0 heard last pause server
	server="$(nb_get server)"
	heard="$(nb_seconds)"
	while :; do
		attempt=$((attempt + 1))
		if NB_AUTHORIZATION="$(nb_get session)" http_request GET "$server/boot/config" '' '' "$sealed"; then
			case "$HTTP_STATUS" in
			200) break ;;
			404) nb_fail config "the appliance no longer knows this boot: a newer boot of this machine took its place, or an hour has passed" ;;
			409) nb_fail config "the appliance withholds the configuration: $(nb_clean <"$sealed")" ;;
			4*) nb_fail config "the appliance refused (HTTP $HTTP_STATUS): $(nb_clean <"$sealed")" ;;
			503)
				pause="$(nb_retry_after)"
				nb_step config "waiting $pause s: $(nb_clean <"$sealed")"
				heard="$(nb_seconds)"
				sleep "$pause"
				continue
				;;
			esac
			last="HTTP $HTTP_STATUS: $(nb_clean <"$sealed")"
		else
			last="$HTTP_ERROR"
		fi
		[ $(($(nb_seconds) - heard)) -lt "$NB_CONFIG_LIMIT" ] ||
			nb_fail config "no configuration within $NB_CONFIG_LIMIT s ($last). Is the appliance running and reachable?"
		nb_step config "attempt $attempt failed: $last; trying again"
		nb_backoff "$attempt"
	done
	nb_put fetches $(($(nb_get fetches || echo 0) + 1))
	(umask 077 && openssl cms -decrypt -inform DER -binary -inkey "$NB_RUN/key.pem" -recip "$NB_RUN/certificate.pem" \
		-in "$sealed" -out "$tar") 2>"$NB_RUN/.cms.log" ||
		nb_fail config "the configuration is not sealed to this machine's key: $(tail -n 1 "$NB_RUN/.cms.log" | nb_clean)"
	nb_unpack "$tar" || nb_fail config "the configuration is no tar of netboot/ files"
	rm -f "$sealed" "$tar" "$NB_RUN/.cms.log"
}

# nb_unpack TAR: into NB_CONFIG; only names below netboot/, none of which climbs out.
nb_unpack() {
	tar -tf "$1" >"$NB_RUN/.config.list" 2>/dev/null || return 1
	! grep -Eqv '^(\./)?netboot(/(\.?[^./]|\.\.[^/])[^/]*)*/?$' "$NB_RUN/.config.list" || return 1
	rm -rf "$NB_CONFIG" "$NB_RUN/.config.list"
	(umask 077 && mkdir -p "$NB_CONFIG")
	tar -xpf "$1" -C "$NB_CONFIG" 2>/dev/null || return 1
	[ -f "$NB_CONFIG/netboot/hostname" ] && [ -f "$NB_CONFIG/netboot/join/method" ]
}

# nb_file NAME: path of a member of the configuration; status 1 when it is not there or empty.
nb_file() {
	[ -s "$NB_CONFIG/netboot/$1" ] && printf '%s' "$NB_CONFIG/netboot/$1"
}

# --- applying --------------------------------------------------------------------------------------------------

apply_hostname() {
	local name
	name="$(cat "$(nb_file hostname)")"
	nb_is_name "$name" || nb_fail config "the configuration holds no valid host name"
	printf '%s\n' "$name" >"$ROOT/etc/hostname"
	[ -n "$ROOT" ] || hostname "$name"
	nb_put node "$name"
	HOSTNAME="$name"
}

apply_timezone() {
	local file zone
	file="$(nb_file timezone)" || return 0
	zone="$(cat "$file")"
	if ! nb_match "$zone" '[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*' || [ ! -f "$ROOT/usr/share/zoneinfo/$zone" ]; then
		nb_problem "timezone $(printf '%s' "$zone" | nb_clean) is not in this image"
		return 0
	fi
	ln -sf "/usr/share/zoneinfo/$zone" "$ROOT/etc/localtime"
	printf '%s\n' "$zone" >"$ROOT/etc/timezone"
}

# The hash goes through the environment: an argument would show in the process list.
apply_password() {
	local file shadow="$ROOT/etc/shadow"
	file="$(nb_file root_password_hash)" || return 0
	(
		umask 077
		HASH="$(cat "$file")" awk -F: 'BEGIN { OFS = ":" } $1 == "root" { $2 = ENVIRON["HASH"]; if ($3 == "") $3 = 19000 } { print }' \
			"$shadow" >"$shadow.netboot" && cat "$shadow.netboot" >"$shadow"
		rm -f "$shadow.netboot"
	) || nb_problem "the root password could not be set"
}

apply_keys() {
	local file
	file="$(nb_file authorized_keys)" || return 0
	(umask 077 && mkdir -p "$ROOT/root/.ssh" && cat "$file" >"$ROOT/root/.ssh/authorized_keys") ||
		nb_problem "the ssh keys could not be written"
}

# The host name stands for the machine's real address: Kubernetes components look themselves up by it.
apply_hosts() {
	local file address
	[ ! -f "$NB_CONFIG/netboot/root/etc/hosts" ] || return 0
	address="$(nb_address)"
	{
		printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n'
		[ -z "$address" ] || printf '%s\t%s\n' "$address" "$(nb_names "$HOSTNAME")"
		file="$(nb_file hosts)" && cat "$file"
		true
	} >"$ROOT/etc/hosts"
}

# nb_names NAME: the name, and its first label when it has several.
nb_names() {
	case "$1" in
	*.*) printf '%s %s' "$1" "${1%%.*}" ;;
	*) printf '%s' "$1" ;;
	esac
}

# fstab writes a blank as \040; printf's %b wants it as \0040.
nb_unescape() { printf '%b' "$(printf '%s' "$1" | sed 's/\\\([0-7][0-7][0-7]\)/\\0\1/g')"; }

# nb_mount_options OPTIONS: without those that only systemd or humans read.
nb_mount_options() {
	printf '%s' "$1" | tr ',' '\n' | grep -Ev '^(x-.*|auto|noauto|nofail|_netdev|user|defaults)$' | paste -sd, -
}

apply_mounts() {
	local file what where type options rest
	file="$(nb_file fstab)" || return 0
	while read -r what where type options rest; do
		case "$what" in '' | \#*) continue ;; esac
		where="$(nb_unescape "$where")"
		what="$(nb_unescape "$what")"
		options="$(nb_mount_options "$options")"
		mkdir -p "$ROOT$where" &&
			${NB_MOUNT:-mount} -t "$type" ${options:+-o "$options"} "$what" "$ROOT$where" 2>"$NB_RUN/.mount.log" ||
			nb_fail config "mount of $what at $where ($type): $(nb_clean <"$NB_RUN/.mount.log")"
	done <"$file"
	cat "$file" >>"$ROOT/etc/fstab"
}

# What the image keeps off the overlay root (overlayfs cannot lie on itself), unless the operator mounted it otherwise.
apply_default_mounts() {
	local where
	[ -f "$ROOT/etc/netboot/volatile" ] || return 0
	while read -r where; do
		case "$where" in '' | \#*) continue ;; esac
		awk -v where="$where" '$2 == where { found = 1 } END { exit !found }' "$NB_PROC/mounts" && continue
		mkdir -p "$ROOT$where" && ${NB_MOUNT:-mount} -t tmpfs -o mode=0755 tmpfs "$ROOT$where" ||
			nb_fail config "no tmpfs at $where"
	done <"$ROOT/etc/netboot/volatile"
}

apply_files() { nb_lay "$NB_CONFIG/netboot/root" config; }

# nb_lay FOLDER STEP: the files of FOLDER over the root. Each is written beside its place and renamed, so that nobody reads
# half a file; folders above keep their modes. What the operator lays himself, a join lets be.
nb_lay() {
	local base="$1" step="$2" name target
	[ -d "$base" ] || return 0
	(cd "$base" && find . \( -type f -o -type l \) -print) >"$NB_RUN/.files"
	while IFS= read -r name; do
		name="${name#.}"
		target="$ROOT$name"
		[ "$step" != join ] || [ ! -e "$NB_CONFIG/netboot/root$name" ] || continue
		{
			(umask 022 && mkdir -p "${target%/*}") && [ ! -d "$target" ] && cp -dp "$base$name" "$target.netboot-new" &&
				chown -h "${NB_OWNER:-0:0}" "$target.netboot-new" && mv -f "$target.netboot-new" "$target"
		} 2>"$NB_RUN/.file.log" ||
			nb_fail "$step" "the file $name could not be written: $(nb_clean <"$NB_RUN/.file.log")"
	done <"$NB_RUN/.files"
	rm -f "$NB_RUN/.files" "$NB_RUN/.file.log"
}

apply_modules() {
	local file module
	file="$(nb_file modules)" || return 0
	mkdir -p "$ROOT/etc/modules-load.d"
	cat "$file" >"$ROOT/etc/modules-load.d/netboot.conf"
	while read -r module; do
		nb_match "$module" '[A-Za-z0-9_-]+' || continue
		${NB_MODPROBE:-modprobe} "$module" 2>"$NB_RUN/.modprobe.log" || nb_problem "module $module: $(nb_clean <"$NB_RUN/.modprobe.log")"
	done <"$file"
}

apply_sysctls() {
	local file key value
	file="$(nb_file sysctl.conf)" || return 0
	mkdir -p "$ROOT/etc/sysctl.d"
	cat "$file" >"$ROOT/etc/sysctl.d/99-netboot.conf"
	while IFS='=' read -r key value; do
		key="$(printf '%s' "$key" | tr -d ' \t')"
		value="${value# }"
		case "$key" in '' | \#*) continue ;; esac
		${NB_SYSCTL:-sysctl} -q -w "$key=$value" >/dev/null 2>"$NB_RUN/.sysctl.log" ||
			nb_problem "sysctl $key: $(nb_clean <"$NB_RUN/.sysctl.log")"
	done <"$file"
}

apply_kubelet() {
	local file
	file="$(nb_file kubelet.env)" || return 0
	mkdir -p "$ROOT/etc/default"
	cat "$file" >"$ROOT/etc/default/kubelet"
}

# --- network.sh ------------------------------------------------------------------------------------------------

# nb_device: the interface this machine is reached by: the default route's, else the one that booted.
nb_device() {
	local device
	device="$(ip -4 route show default 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)"
	printf '%s' "${device:-$(nb_get device)}"
}

nb_cidr() { ip -4 addr show dev "$(nb_device)" 2>/dev/null | awk '/inet / { print $2; exit }'; }
nb_address() { nb_cidr | cut -d/ -f1; }

# nb_netmask PREFIX: dotted.
nb_netmask() {
	local bits="$1" part mask=''
	for part in 1 2 3 4; do
		if [ "$bits" -ge 8 ]; then part=255; elif [ "$bits" -le 0 ]; then part=0; else part=$((256 - (1 << (8 - bits)))); fi
		mask="$mask${mask:+.}$part"
		bits=$((bits - 8))
	done
	printf '%s' "$mask"
}

# nb_network_environment FILE: what only the machine knows, in the names of Kubefarm's hooks. The appliance's own
# network.env is read after this and wins.
nb_network_environment() {
	local device cidr address prefix gateway
	device="$(nb_device)"
	cidr="$(nb_cidr)"
	address="${cidr%%/*}"
	prefix="${cidr##*/}"
	gateway="$(ip -4 route show default 2>/dev/null | sed -n 's/.* via \([^ ]*\).*/\1/p' | head -n 1)"
	cat <<-ENVIRONMENT
		DEVICE='$device'
		MAC_ADDRESS='$(cat "$NB_SYS/class/net/$device/address" 2>/dev/null || nb_get mac)'
		IP_ADDRESS='$address'
		GATEWAY='$gateway'
		HOSTNAME='$HOSTNAME'
		IPCONFIG_DEVICE='$device'
		IPCONFIG_PROTO='dhcp'
		IPCONFIG_IPV4PROTO='dhcp'
		IPCONFIG_IPV4ADDR='$address'
		IPCONFIG_IPV4NETMASK='$(nb_netmask "${prefix:-32}")'
		IPCONFIG_IPV4BROADCAST='$(ip -4 addr show dev "$device" 2>/dev/null | sed -n 's/.* brd \([0-9.]*\).*/\1/p' | head -n 1)'
		IPCONFIG_IPV4GATEWAY='$gateway'
		IPCONFIG_HOSTNAME='$HOSTNAME'
		IPCONFIG_ROOTSERVER='$(nb_server_host)'
		IPCONFIG_UPTIME='$(nb_seconds)'
		SERVER='$(nb_server_host)'
	ENVIRONMENT
}

nb_server_host() {
	nb_url_split "$(nb_get server)"
	printf '%s' "$URL_HOST"
}

# nb_limited SECONDS COMMAND...: run it in a session of its own and end all of it after SECONDS (status 124).
nb_limited() {
	local limit="$1" pid waited=0
	shift
	setsid "$@" &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if [ "$waited" -ge $((limit * 5)) ]; then
			kill -TERM -- "-$pid" 2>/dev/null
			sleep 1
			kill -KILL -- "-$pid" 2>/dev/null
			wait "$pid" 2>/dev/null
			return 124
		fi
		sleep 0.2
		waited=$((waited + 1))
	done
	wait "$pid"
}

# nb_network_script: network.sh as a process of its own: its `exit` ends only itself, as with `set -e` a command that fails.
nb_network_script() {
	local script environment="$NB_RUN/network.env" log="$NB_RUN/network_script.log" status=0 before
	if ! script="$(nb_file network.sh)"; then
		nb_network_default "$(nb_network_state)"
		nb_report_surely network_script '' '' "none" || true
		return 0
	fi
	nb_step network_script "running (at most $NB_NETWORK_LIMIT s)"
	nb_report network_script '' '' "running" || true
	before="$(nb_network_state)"
	(umask 077 && nb_network_environment >"$environment" && cat "$(nb_file network.env || echo /dev/null)" >>"$environment")
	# PATH is the agent's; nothing else of its environment is handed on.
	# shellcheck disable=SC2016 # the inner shell expands these
	nb_limited "$NB_NETWORK_LIMIT" env -i PATH="$PATH" HOME=/root TERM=linux \
		sh -c 'set -a; . "$1"; set +a; . "$2"; set -e; . "$3"' network.sh \
		"$environment" "${NB_LIB:-/usr/lib/netboot}/network-functions.sh" "$script" >"$log" 2>&1 </dev/null || status=$?
	nb_log "$log"
	case "$status" in
	0) ;;
	124) nb_fail network_script "network.sh ran longer than $NB_NETWORK_LIMIT s and was ended; last lines: $(tail -n 5 "$log" | nb_clean)" ;;
	*) nb_fail network_script "network.sh ended with exit status $status; last lines: $(tail -n 5 "$log" | nb_clean)" ;;
	esac
	nb_network_default "$before"
	apply_hosts
	nb_step network_script "done"
	nb_report_surely network_script '' '' "done" || true
}

# nb_network_state: addresses and master of the boot interface; changed means that network.sh took it over.
nb_network_state() {
	local device
	device="$(nb_get device)"
	ip -4 addr show dev "$device" 2>/dev/null | awk '/inet / { print $2 }'
	[ ! -e "$NB_SYS/class/net/$device/master" ] || echo enslaved
}

# nb_network_default BEFORE: the boot interface gets a DHCP client with firmware's client identifier, unless network.sh
# took it over by commands. Files of network.sh for systemd-networkd or netplan sort before this one and win anyway.
nb_network_default() {
	local directory="$ROOT/run/systemd/network"
	if [ "$1" != "$(nb_network_state)" ]; then
		nb_put network_taken 1
		rm -f "$directory/90-netboot.network"
		return 0
	fi
	if [ -n "$(ls "$ROOT"/etc/netplan/*.yaml 2>/dev/null)" ] && command -v netplan >/dev/null; then
		netplan generate >"$NB_RUN/.netplan.log" 2>&1 || nb_problem "netplan generate: $(tail -n 2 "$NB_RUN/.netplan.log" | nb_clean)"
	fi
	mkdir -p "$directory"
	cat >"$directory/90-netboot.network" <<-NETWORK
		[Match]
		Name=$(nb_get device)

		[Network]
		DHCP=ipv4
		# The address that the initrd set stays until, and after, DHCP answers: a node needs the appliance only to boot.
		KeepConfiguration=yes

		[DHCPv4]
		ClientIdentifier=mac
		UseHostname=no
		SendRelease=no
	NETWORK
}

# --- units -----------------------------------------------------------------------------------------------------

# Not waited for: units that are ordered after this one would never start.
apply_units() {
	local file unit
	! nb_has_systemd || systemctl daemon-reload || nb_problem "systemctl daemon-reload failed"
	file="$(nb_file units)" || return 0
	if ! nb_has_systemd; then
		nb_problem "units are not started: this image has no systemd"
		return 0
	fi
	while read -r unit; do
		nb_match "$unit" '[A-Za-z0-9@_.:-]+' || continue
		systemctl enable "$unit" >"$NB_RUN/.unit.log" 2>&1 && systemctl start --no-block "$unit" >>"$NB_RUN/.unit.log" 2>&1 ||
			nb_problem "unit $unit: $(tail -n 1 "$NB_RUN/.unit.log" | nb_clean)"
	done <"$file"
}

# --- join ------------------------------------------------------------------------------------------------------

# nb_join_reason LOG: kubeadm's own words, with anything that looks like a token taken out.
nb_join_reason() {
	{
		grep -E '\[ERROR' "$1" || grep -Ei '^(error|\[?error|.*error execution phase)' "$1" | tail -n 1 ||
			grep -v 'To see the stack trace' "$1" | grep . | tail -n 1
	} | nb_redact | nb_clean | sed 's/ *To see the stack trace.*//'
}

nb_redact() { sed -E 's/[a-z0-9]{6}\.[a-z0-9]{16}/(token)/g'; }

# nb_join_again LOG: is this a failure that a new credential may heal? A wrong CA and a failed preflight are not.
nb_join_again() {
	! grep -Eqi 'cluster CA found in cluster-info|public key|\[ERROR ' "$1" || return 1
	grep -Eqi 'JWS|token|cluster-info|unauthorized|already exists|deadline exceeded|connection refused|timed out|TLS bootstrap' "$1"
}

nb_join_kubeadm() {
	local log="$NB_RUN/join.log" started attempt=0 ignore status
	command -v kubeadm >/dev/null || nb_fail join "this image has no kubeadm: build it with KUBE=repository or KUBE=local"
	started="$(nb_seconds)"
	while :; do
		attempt=$((attempt + 1))
		nb_step join "kubeadm join, attempt $attempt"
		nb_report join '' '' "kubeadm join, attempt $attempt" || true
		ignore=''
		! nb_file join/ignore_preflight >/dev/null || ignore="$(cat "$(nb_file join/ignore_preflight)")"
		status=0
		kubeadm join --config "$(nb_file join/kubeadm.yaml)" ${ignore:+--ignore-preflight-errors="$ignore"} >"$log" 2>&1 || status=$?
		nb_redact <"$log" >"$log.shown"
		nb_log "$log.shown"
		[ "$status" -ne 0 ] || return 0
		say "kubeadm join failed: $(nb_join_reason "$log")"
		nb_join_again "$log" && [ "$(nb_get fetches)" -lt "$NB_FETCHES_MOST" ] &&
			[ $(($(nb_seconds) - started)) -lt "$NB_JOIN_LIMIT" ] || return 1
		nb_backoff "$attempt"
		nb_step join "asking for a new credential"
		nb_join_clean
		nb_fetch
	done
}

# nb_join_clean: remove what a kubeadm that failed half-way leaves behind: its next preflight refuses these files and a
# kubelet on its port, and a kubelet with its old key would wait for the old certificate request.
nb_join_clean() {
	! nb_has_systemd || systemctl stop kubelet || say "the kubelet could not be stopped"
	rm -rf "$ROOT/etc/kubernetes/kubelet.conf" "$ROOT/etc/kubernetes/bootstrap-kubelet.conf" \
		"$ROOT/etc/kubernetes/pki/ca.crt" "$ROOT/var/lib/kubelet/pki"
}

nb_join() {
	local method
	HOSTNAME="$(nb_get node)"
	apply_hosts
	method="$(cat "$(nb_file join/method)")"
	case "$method" in
	none)
		nb_finish
		nb_step join "none: this machine joins no cluster"
		nb_report_surely join '' '' "none" || true
		;;
	kubeadm)
		if ! nb_join_kubeadm; then
			nb_fail join "$(nb_join_reason "$NB_RUN/join.log")"
		fi
		nb_finish
		nb_step join "done, $(nb_get node) has joined"
		nb_report_surely join '' '' "done${NB_PROBLEMS:+, with problems: $NB_PROBLEMS}" || true
		;;
	certificate | tls-bootstrap | static)
		nb_join_kubelet "$method" || nb_fail join "$method: $NB_REASON"
		nb_finish
		nb_step join "done, $(nb_get node) has joined"
		nb_report_surely join '' '' "done${NB_PROBLEMS:+, with problems: $NB_PROBLEMS}" || true
		;;
	*) nb_fail join "the join method '$(printf '%s' "$method" | nb_clean)' is not known to this image: build a newer one" ;;
	esac
}

# nb_finish: what nobody needs after the join: the key that opens the configuration, and all secrets that were in it.
nb_finish() {
	rm -rf "$NB_RUN/key.pem" "$NB_CONFIG" "$NB_RUN/join.log" "$NB_RUN/network.env" "$NB_RUN"/.kubelet.log "$NB_RUN"/.api.log
}

# --- the two commands ------------------------------------------------------------------------------------------

# nb_configure: everything up to the join.
nb_configure() {
	nb_step config "fetching"
	nb_report config '' '' "fetching" || true
	nb_fetch
	apply_hostname
	apply_timezone
	apply_password
	apply_keys
	apply_hosts
	apply_mounts
	apply_default_mounts
	apply_files
	apply_modules
	apply_sysctls
	apply_kubelet
	nb_step config "done${NB_PROBLEMS:+, with problems: $NB_PROBLEMS}"
	nb_report_surely config '' '' "done${NB_PROBLEMS:+, with problems: $NB_PROBLEMS}" || say "warning: the appliance did not take the report"
	NB_PROBLEMS=''
	nb_network_script
	apply_units
	nb_put problems "$NB_PROBLEMS"
}
