# shellcheck shell=sh disable=SC3043
# The way from a bare kernel to a root file system in RAM: network, seed, claim, squashfs, overlay.
# Needs lib.sh. Used by the full image's initramfs-tools script and by the micro image's /init alike.

NB_SEED="${NB_SEED:-/netboot/seed.json}"
# How long nothing at all may arrive before the download counts as failed, in seconds.
NB_STALL_LIMIT="${NB_STALL_LIMIT:-300}"
# How long one connection may stay silent before it is opened anew, in seconds.
NB_STALL_RETRY="${NB_STALL_RETRY:-10}"
# How long a claim is repeated when nobody answers, and when the appliance asks to wait, in seconds.
NB_CLAIM_LIMIT="${NB_CLAIM_LIMIT:-120}"
NB_CLAIM_WAIT_LIMIT="${NB_CLAIM_WAIT_LIMIT:-900}"

# --- network ---------------------------------------------------------------------------------------------------

# nb_bootif: the MAC of the card that booted, from BOOTIF=01-52-54-00-12-34-56; nothing without that parameter.
nb_bootif() {
	local value
	value="$(nb_parameter BOOTIF | tr 'A-F-' 'a-f:')"
	nb_is_mac "${value#01:}" && printf '%s' "${value#01:}"
}

# nb_device_of MAC: the interface with that address. A VLAN or bond repeats its parent's, so only real devices count.
nb_device_of() {
	local path
	for path in "$NB_SYS"/class/net/*; do
		[ -e "$path/device" ] || [ -n "${NB_ANY_DEVICE:-}" ] || continue
		[ "$(cat "$path/address" 2>/dev/null)" = "$1" ] || continue
		printf '%s' "${path##*/}"
		return 0
	done
	return 1
}

# nb_first_device: the first network card at all, for a command line without BOOTIF.
nb_first_device() {
	local path
	for path in "$NB_SYS"/class/net/*; do
		[ -e "$path/device" ] || continue
		printf '%s' "${path##*/}"
		return 0
	done
	return 1
}

# nb_find_device: wait for the card, for drivers and their firmware need time; sets DEVICE and MAC.
nb_find_device() {
	local wanted waited=0 limit="${NB_DEVICE_WAIT:-60}"
	wanted="$(nb_bootif)" || wanted=''
	while :; do
		if [ -n "$wanted" ]; then
			DEVICE="$(nb_device_of "$wanted")" && break
		else
			DEVICE="$(nb_first_device)" && break
		fi
		[ "$waited" -lt "$limit" ] ||
			nb_fail network "no network card ${wanted:+with the address $wanted }appeared within $limit s. Found: $(nb_cards). Is its driver in the image? See docs/images.md, extra kernel modules"
		[ $((waited % 10)) -ne 5 ] || say "waiting for the network card ${wanted:-(any)}; found so far: $(nb_cards)"
		sleep 1
		waited=$((waited + 1))
	done
	MAC="$(cat "$NB_SYS/class/net/$DEVICE/address")"
}

# nb_cards: the cards there are, for the message that the wanted one is missing.
nb_cards() {
	local path list=''
	for path in "$NB_SYS"/class/net/*; do
		[ -e "$path/device" ] || continue
		list="$list ${path##*/}=$(cat "$path/address")"
	done
	printf '%s' "${list:- none}" | cut -c2-
}

# nb_prefix NETMASK: the length of a dotted netmask; status 1 when it is none.
nb_prefix() {
	nb_is_ipv4 "$1" || return 1
	printf '%s\n' "$1" | awk -F. '
		{ for (i = 1; i <= 4; i++) for (bit = 128; bit >= 1; bit /= 2) {
			if (int($i / bit) % 2) { if (gap) bad = 1; length_++ } else gap = 1 } }
		END { if (bad) exit 1; print length_ + 0 }'
}

# nb_ip_field N: field N (1 address, 3 gateway, 4 netmask) of ip=ADDRESS:SERVER:GATEWAY:NETMASK:HOSTNAME:DEVICE:METHOD.
nb_ip_field() { nb_parameter ip | cut -d: -f"$1"; }

# nb_network: bring DEVICE up with the static address of the command line, or ask DHCP as the same client as firmware.
nb_network() {
	local address gateway prefix waited=0
	nb_find_device
	nb_put device "$DEVICE"
	nb_put mac "$MAC"
	ip link set lo up
	ip link set "$DEVICE" up || nb_fail network "the interface $DEVICE cannot be switched on"
	while [ "$(cat "$NB_SYS/class/net/$DEVICE/carrier" 2>/dev/null)" != 1 ]; do
		[ $((waited % 10)) -ne 3 ] || say "waiting for a link on $DEVICE ($MAC): is the cable plugged in, the switch port up?"
		[ "$waited" -lt 60 ] || nb_fail network "no link on $DEVICE ($MAC) within 60 s: check cable, transceiver and switch port"
		sleep 1
		waited=$((waited + 1))
	done
	address="$(nb_ip_field 1)"
	case "$address" in
	'' | dhcp | on | any)
		nb_step network "$DEVICE ($MAC), asking DHCP"
		nb_dhcp
		;;
	*)
		gateway="$(nb_ip_field 3)"
		prefix="$(nb_prefix "$(nb_ip_field 4)")" && nb_is_ipv4 "$address" ||
			nb_fail network "ip=$(nb_parameter ip | nb_clean) on the kernel command line is not ADDRESS::GATEWAY:NETMASK:NAME::off"
		ip addr add "$address/$prefix" broadcast + dev "$DEVICE" ||
			nb_fail network "the address $address/$prefix cannot be set on $DEVICE"
		if nb_is_ipv4 "$gateway"; then
			ip route add default via "$gateway" dev "$DEVICE" || say "warning: no route to the gateway $gateway"
		fi
		nb_step network "$DEVICE ($MAC) has $address/$prefix${gateway:+, gateway $gateway}"
		;;
	esac
}

# nb_dhcp: udhcpc with client identifier 01+MAC, so that the server sees firmware's own identity again.
nb_dhcp() {
	udhcpc -i "$DEVICE" -f -q -n -t 8 -T 4 -C -x "0x3d:01$(printf '%s' "$MAC" | tr -d :)" \
		-s "${NB_DHCP_SCRIPT:-/usr/lib/netboot/dhcp-script}" >"$NB_RUN/dhcp.log" 2>&1 ||
		nb_fail network "no DHCP answer on $DEVICE ($MAC): $(tail -n 1 "$NB_RUN/dhcp.log" | nb_clean)"
	nb_step network "$DEVICE ($MAC) has $(ip -4 addr show dev "$DEVICE" | awk '/inet /{ print $2; exit }') by DHCP"
}

# --- seed and claim ---------------------------------------------------------------------------------------------

# nb_seed: read the second initrd's one file, or fall back to a claim without key (the script came by TFTP).
# Sets KEY, NODE, SERVER, JOIN, all checked.
nb_seed() {
	local text='' server
	KEY='' NODE='' JOIN=''
	SERVER="$(nb_parameter netboot.server)" || SERVER=''
	if [ -f "$NB_SEED" ]; then
		[ "$(stat -c %s "$NB_SEED")" -le 65536 ] || nb_fail seed "seed.json is larger than 64 KiB; the boot server sent something else"
		text="$(cat "$NB_SEED")"
		KEY="$(json_value key "$text")"
		NODE="$(json_value node "$text")"
		JOIN="$(json_value join "$text")"
		server="$(json_value server "$text")"
		SERVER="${server:-$SERVER}"
		nb_match "$KEY" '[0-9a-f]{32}' || nb_fail seed "seed.json holds no key of 32 hex digits; the boot server sent something else"
		nb_is_name "$NODE" || nb_fail seed "seed.json holds no valid node name"
		nb_match "$JOIN" '[a-z-]{1,32}' || nb_fail seed "seed.json names no join method"
		nb_ca "$(json_value ca "$text")"
		nb_step seed "this machine is node $NODE, boot key ${KEY%"${KEY#????}"}..."
	else
		nb_step seed "none (the boot script came by TFTP); claiming by address"
	fi
	SERVER="${SERVER%/}"
	nb_is_server "$SERVER" || nb_fail seed "no usable server address: netboot.server=$(printf '%s' "$SERVER" | nb_clean)"
	nb_put server "$SERVER"
	[ -z "$JOIN" ] || nb_put join "$JOIN"
}

# nb_ca PEM-AS-JSON: keep the operator's CA for later https; only PEM characters pass.
nb_ca() {
	[ -n "$1" ] || return 0
	nb_match "$1" '[A-Za-z0-9+/=\ -]*' || nb_fail seed "the CA in seed.json is not PEM"
	nb_put ca.pem "$(printf '%b' "$1")"
}

# nb_uuid: the machine's UUID as the firmware tells it, lower case; nothing where there is none.
nb_uuid() {
	local value
	value="$(tr 'A-F' 'a-f' 2>/dev/null <"$NB_SYS/class/dmi/id/product_uuid")" || value=''
	nb_match "$value" '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' && printf '%s' "$value"
	return 0
}

# nb_certificate NAME: an RSA-2048 key and a self-signed certificate that live for this boot only. `openssl ca` because
# only it can set a beginning in the past, and a machine's clock is often a little ahead.
nb_certificate() {
	local work="$NB_RUN/.certificate" now
	rm -rf "$work"
	(umask 077 && mkdir -p "$work") || return 1
	now="$(date +%s)"
	: >"$work/index.txt"
	cat >"$work/openssl.cnf" <<-CONFIG
		[req]
		distinguished_name = subject
		prompt = no
		string_mask = utf8only
		[subject]
		CN = $1
		[ca]
		default_ca = node
		[node]
		database = $work/index.txt
		new_certs_dir = $work
		rand_serial = yes
		unique_subject = no
		default_md = sha256
		policy = any
		x509_extensions = extensions
		[any]
		commonName = supplied
		[extensions]
		basicConstraints = critical,CA:FALSE
		keyUsage = critical,keyEncipherment,digitalSignature
	CONFIG
	(
		umask 077
		openssl req -new -newkey rsa:2048 -nodes -config "$work/openssl.cnf" -keyout "$work/key.pem" -out "$work/request.pem" &&
			openssl ca -batch -notext -selfsign -config "$work/openssl.cnf" -keyfile "$work/key.pem" -in "$work/request.pem" \
				-startdate "$(nb_utc $((now - 86400)))" -enddate "$(nb_utc $((now + 172800)))" -out "$work/certificate.pem"
	) >"$work/log" 2>&1 || return 1
	mv "$work/key.pem" "$work/certificate.pem" "$NB_RUN/" || return 1
	rm -rf "$work"
}

# nb_node_name: who this machine is, by its seed, else by its command line; nothing where neither says so.
nb_node_name() {
	local name="$NODE"
	[ -n "$name" ] || name="$(nb_parameter ip | cut -s -d: -f5)"
	nb_is_name "$name" && printf '%s' "$name"
}

# nb_csr NAME: the kubelet's key, which never leaves this machine, and the request for its certificate (join method
# `certificate`). EC P-256: an RSA key takes bare metal a tenth of a second and emulation ten.
nb_csr() {
	cat >"$NB_RUN/.csr.cnf" <<-CONFIG
		[req]
		distinguished_name = subject
		prompt = no
		string_mask = utf8only
		[subject]
		O = system:nodes
		CN = system:node:$1
	CONFIG
	(
		umask 077
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -sha256 -config "$NB_RUN/.csr.cnf" \
			-keyout "$NB_RUN/.kubelet.key" -out "$NB_RUN/kubelet.csr"
	) >"$NB_RUN/.csr.log" 2>&1 || return 1
	mv "$NB_RUN/.kubelet.key" "$NB_RUN/kubelet.key" && rm -f "$NB_RUN/.csr.log" "$NB_RUN/.csr.cnf"
}

# nb_request: the request as a JSON string. Without a seed nobody has named the join method yet, so one is made in any case.
nb_request() {
	local name
	case "$JOIN" in
	certificate | '') ;;
	*)
		printf '""'
		return 0
		;;
	esac
	if ! name="$(nb_node_name)"; then
		printf '""'
		return 0
	fi
	nb_csr "$name" || return 1
	json_string <"$NB_RUN/kubelet.csr"
}

# nb_utc SECONDS: as openssl wants it.
nb_utc() { date -u -d "@$1" +%Y%m%d%H%M%SZ; }

# nb_claim: spend the boot key for a session. A repeated request is the identical one: the appliance answers it the
# same way for a minute, so a lost answer does no harm.
nb_claim() {
	local url body="$NB_RUN/.claim.json" answer="$NB_RUN/.claim.answer" attempt=0 started heard last='' pause session text
	local request
	nb_certificate "${NODE:-unclaimed}" || nb_fail claim "openssl made no key: $(tail -n 2 "$NB_RUN/.certificate/log" | nb_clean)"
	request="$(nb_request)" || nb_fail claim "openssl made no key for the kubelet: $(tail -n 2 "$NB_RUN/.csr.log" | nb_clean)"
	printf '{"mac":"%s","uuid":"%s","certificate":%s,"csr":%s}' "$MAC" "$(nb_uuid)" \
		"$(json_string <"$NB_RUN/certificate.pem")" "$request" >"$body"
	url="$SERVER/boot${KEY:+/$KEY}/claim"
	started="$(nb_seconds)"
	heard="$started"
	while :; do
		attempt=$((attempt + 1))
		if http_request POST "$url" application/json "@$body" "$answer"; then
			case "$HTTP_STATUS" in
			200) break ;;
			4*) nb_fail claim "the appliance refused (HTTP $HTTP_STATUS): $(nb_clean <"$answer"). $(nb_claim_remedy "$HTTP_STATUS")" ;;
			503)
				pause="$(nb_retry_after)"
				heard="$(nb_seconds)"
				nb_step claim "the appliance asks to wait $pause s: $(nb_clean <"$answer")"
				[ $((heard - started)) -lt "$NB_CLAIM_WAIT_LIMIT" ] ||
					nb_fail claim "the appliance let this machine wait for $NB_CLAIM_WAIT_LIMIT s: $(nb_clean <"$answer")"
				sleep "$pause"
				continue
				;;
			esac
			last="HTTP $HTTP_STATUS: $(nb_clean <"$answer")"
		else
			last="$HTTP_ERROR"
		fi
		[ $(($(nb_seconds) - heard)) -lt "$NB_CLAIM_LIMIT" ] ||
			nb_fail claim "no claim within $NB_CLAIM_LIMIT s at $SERVER ($last). Is the appliance running and reachable from this network?"
		nb_step claim "attempt $attempt at $SERVER failed: $last; trying again"
		nb_backoff "$attempt"
	done
	text="$(head -c 4096 "$answer")"
	session="$(json_value session "$text")"
	NODE="$(json_value node "$text")"
	nb_match "$session" '[A-Za-z0-9._~-]{16,512}' || nb_fail claim "the appliance's answer holds no session"
	nb_is_name "$NODE" || nb_fail claim "the appliance's answer holds no valid node name"
	nb_put session "$session"
	nb_put node "$NODE"
	rm -f "$body" "$answer" "$NB_SEED"
	nb_clock "$HTTP_DATE"
	nb_step claim "done, this machine is $NODE"
}

# nb_claim_remedy STATUS: what a person can do about a refused claim.
nb_claim_remedy() {
	case "$1" in
	404) printf 'The boot key is used up, too old, or another machine has it: restart the machine for a new one' ;;
	403 | 409) printf 'Another machine may use this address or name: look for the same address twice' ;;
	*) printf 'Look at the log of the appliance' ;;
	esac
}

# nb_clock DATE: set a clock that is more than 30 s off; kubeadm's TLS needs the time, and bare metal often has none.
nb_clock() {
	local theirs ours
	[ -n "$1" ] || return 0
	theirs="$(busybox date -u -D '%a, %d %b %Y %T GMT' -d "$1" +%s 2>/dev/null)" || return 0
	nb_is_number "$theirs" && [ "$theirs" -gt 1700000000 ] || return 0
	ours="$(date +%s)"
	if [ $((theirs - ours)) -gt 30 ] || [ $((ours - theirs)) -gt 30 ]; then
		NB_STARTED=''
		${NB_SET_CLOCK:-date -u -s} "@$theirs" >/dev/null 2>&1 && say "the clock was $((theirs - ours)) s behind; set from the appliance"
	fi
	return 0
}

# --- squashfs ---------------------------------------------------------------------------------------------------

# nb_ram VALUE...: is there room? MemTotal as seen by Linux misses what firmware and kernel took, hence the tolerance.
nb_check_ram() {
	local total available needed="$1" minimum
	total="$(awk '/^MemTotal:/ { print int($2 / 1024) }' "$NB_PROC/meminfo")"
	available="$(awk '/^MemAvailable:/ { print int($2 / 1024) }' "$NB_PROC/meminfo")"
	minimum="$(nb_parameter netboot.min_ram)" || minimum=0
	nb_is_number "$minimum" || minimum=0
	[ $((total + total / 8 + 64)) -ge "$minimum" ] ||
		nb_fail squashfs "this machine has $total MiB of RAM, the image needs $minimum MiB: add RAM or choose a smaller image"
	[ "$available" -ge $((needed + 64)) ] ||
		nb_fail squashfs "$available MiB of RAM are free, the squashfs of $needed MiB and 64 MiB beside it do not fit: add RAM or choose a smaller image"
}

# nb_sources: URLs of the squashfs, the appliance's last: mirrors are there to spare it. A mirror is the file itself (ends in .squashfs) or a folder
# of images (then .../NAME/GENERATION/root.squashfs below it).
nb_sources() {
	local url tail_ mirror
	url="$(nb_parameter netboot.squashfs)"
	tail_="$(printf '%s' "$url" | awk -F/ '{ print $(NF-2) "/" $(NF-1) "/" $NF }')"
	for mirror in $(nb_parameter netboot.mirrors | tr ',' ' '); do
		nb_is_url "$mirror" || continue
		case "$mirror" in
		*.squashfs) printf '%s\n' "$mirror" ;;
		*) printf '%s/%s\n' "${mirror%/}" "$tail_" ;;
		esac
	done
	printf '%s\n' "$url"
}

# nb_bar BYTES OF: one line that overwrites itself.
nb_bar() {
	local percent filled bar='' count=0
	percent=$(($2 > 0 ? $1 * 100 / $2 : 100))
	filled=$((percent * 30 / 100))
	while [ "$count" -lt 30 ]; do
		if [ "$count" -lt "$filled" ]; then bar="$bar#"; else bar="$bar."; fi
		count=$((count + 1))
	done
	printf '\rnetboot: squashfs [%s] %3d %% %d of %d MiB ' "$bar" "$percent" $(($1 / 1048576)) $(($2 / 1048576))
}

nb_size() { stat -c %s "$1" 2>/dev/null || echo 0; }

# nb_watch PID FILE SIZE: until the download ends show and report its progress each second. Ends it when it is silent
# for too long (a peer that lost power says nothing) or sends more than the image has. Status 1: silent.
nb_watch() {
	local pid="$1" file="$2" size="$3" had=-1 now quiet=0 reporter=''
	while kill -0 "$pid" 2>/dev/null; do
		now="$(nb_size "$file")"
		if [ "$now" = "$had" ]; then quiet=$((quiet + 1)); else quiet=0; fi
		had="$now"
		if [ "$now" -gt "$size" ] || [ "$quiet" -ge "$NB_STALL_RETRY" ]; then
			kill "$pid" 2>/dev/null
			return 1
		fi
		nb_print "$(nb_bar "$now" "$size")"
		# A report that hangs must not hold the next one's place: only one at a time, beside the download.
		if [ -z "$reporter" ] || ! kill -0 "$reporter" 2>/dev/null; then
			NB_HTTP_WORK=progress nb_report squashfs "$now" "$size" "" 9>&- &
			reporter=$!
		fi
		sleep 1
	done
	return 0
}

# nb_download FILE SIZE SHA256: fetch by Range until whole and right, from each source in turn.
nb_download() {
	local file="$1" size="$2" sum="$3" url log="$NB_RUN/.wget.log" attempt=1 had now last heard pause bad=0 pid
	heard="$(nb_seconds)"
	while :; do
		for url in $(nb_sources); do
			had="$(nb_size "$file")"
			if [ "$had" -lt "$size" ]; then
				[ "$had" -eq 0 ] || say "going on at byte $had of $size from $url"
				busybox wget -c -S -O "$file" "$url" 2>"$log" >/dev/null &
				pid=$!
				nb_watch "$pid" "$file" "$size" || echo "silent for $NB_STALL_RETRY s, or more bytes than the image has" >>"$log"
				wait "$pid" 2>/dev/null
			fi
			now="$(nb_size "$file")"
			[ "$now" -le "$had" ] || heard="$(nb_seconds)"
			if [ "$now" -eq "$size" ]; then
				nb_print "$(nb_bar "$now" "$size")$NB_RETURN$NB_NEWLINE"
				nb_is_sum "$file" "$sum" && return 0
				last="the checksum of what $url sent is wrong"
			elif [ "$now" -gt "$size" ]; then
				last="$url sent more than the $size bytes of the image"
			else
				last="$url: $(grep -v '^ *[A-Za-z-]*: ' "$log" | tail -n 1 | nb_clean)"
			fi
			if [ "$now" -ge "$size" ]; then
				bad=$((bad + 1))
				rm -f "$file"
				say "$last; what was fetched is thrown away"
				nb_report squashfs 0 "$size" "$last" || true
				[ "$bad" -lt 4 ] || nb_fail squashfs "$last ($bad times). The image on the appliance or a mirror is damaged: publish it again"
			fi
			[ $(($(nb_seconds) - heard)) -lt "$NB_STALL_LIMIT" ] ||
				nb_fail squashfs "nothing arrived for $NB_STALL_LIMIT s; last: $last. Check the appliance, its disk and the network"
			say "download interrupted at byte $(nb_size "$file"): $last"
		done
		pause="$(sed -n 's/^ *[Rr]etry-[Aa]fter: *\([0-9]*\).*/\1/p' "$log" | tail -n 1)"
		if nb_is_number "$pause"; then
			HTTP_RETRY_AFTER="$pause"
			# Waiting in the appliance's queue is not silence.
			heard="$(nb_seconds)"
			sleep "$(nb_retry_after)"
		else
			nb_backoff "$attempt"
		fi
		if [ "$(nb_size "$file")" -gt "${had:-0}" ]; then attempt=1; else attempt=$((attempt + 1)); fi
	done
}

nb_is_sum() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$2" ]; }

# nb_squashfs: fetch the root into a tmpfs of just its size and mount it. Needs NB_RUN on a file system in RAM.
nb_squashfs() {
	local size sum url ram="$NB_RUN/ram" mib
	size="$(nb_parameter netboot.squashfs_size)" || size=''
	sum="$(nb_parameter netboot.squashfs_sha256)" || sum=''
	url="$(nb_parameter netboot.squashfs)" || url=''
	nb_is_number "$size" && [ "$size" -gt 0 ] || nb_fail squashfs "netboot.squashfs_size on the kernel command line is not a number"
	nb_is_sha256 "$sum" || nb_fail squashfs "netboot.squashfs_sha256 on the kernel command line is not a SHA-256"
	nb_is_url "$url" || nb_fail squashfs "netboot.squashfs on the kernel command line is not an http:// URL"
	mib=$((size / 1048576 + 2))
	nb_check_ram "$mib"
	nb_put image "$(printf '%s' "$url" | awk -F/ '{ print $(NF-2) "/" $(NF-1) }')"
	mkdir -p "$ram"
	mount -t tmpfs -o "mode=0700,size=${mib}m" netboot-image "$ram" || nb_fail squashfs "no tmpfs for the image"
	nb_step squashfs "fetching $((size / 1048576)) MiB from $url"
	nb_download "$ram/root.squashfs" "$size" "$sum"
	nb_report_surely squashfs "$size" "$size" "done" || say "warning: the appliance did not take the report"
	nb_step squashfs "done, checksum is right"
}

# nb_overlay TARGET: squashfs below, a tmpfs above.
nb_overlay() {
	local lower="$NB_RUN/lower" upper="$NB_RUN/upper"
	mkdir -p "$lower" "$upper" "$1"
	mount -t squashfs -o ro,loop "$NB_RUN/ram/root.squashfs" "$lower" || nb_fail squashfs "the squashfs cannot be mounted: is it one, and zstd in this kernel?"
	mount -t tmpfs -o mode=0755 netboot-upper "$upper" || nb_fail squashfs "no tmpfs for the writable layer"
	mkdir -p "$upper/up" "$upper/work"
	mount -t overlay -o "lowerdir=$lower,upperdir=$upper/up,workdir=$upper/work" netboot-root "$1" ||
		nb_fail squashfs "the overlay root cannot be mounted"
}

# nb_identity TARGET: what the system reads before its first unit: machine-id (stable, from the MAC) and name.
nb_identity() {
	printf '%s00000000000000000000\n' "$(printf '%s' "$MAC" | tr -d :)" >"$1/etc/machine-id"
	printf '%s\n' "$NODE" >"$1/etc/hostname"
	hostname "$NODE" || true
}

# nb_boot TARGET: all of it; TARGET is then the new root.
nb_boot() {
	local randomize
	(umask 077 && mkdir -p "$NB_RUN")
	chmod 0700 "$NB_RUN"
	# The same addresses in each of the initrd's short-lived processes: QEMU's emulation then translates their code once,
	# not once per process, which saves half of this part and 20 s when the initrd's memory is freed. The system that
	# follows gets its randomised addresses, unless `norandmaps` is on the command line.
	randomize="$(cat "$NB_PROC/sys/kernel/randomize_va_space")"
	echo 0 >"$NB_PROC/sys/kernel/randomize_va_space"
	nb_network
	nb_seed
	nb_claim
	nb_squashfs
	nb_overlay "$1"
	nb_identity "$1"
	echo "$randomize" >"$NB_PROC/sys/kernel/randomize_va_space"
	nb_step root "mounted, starting the system"
}
