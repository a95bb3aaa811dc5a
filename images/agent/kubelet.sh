# shellcheck shell=sh disable=SC3043
# Joins without kubeadm (certificate, tls-bootstrap, static): lay out what came, start the kubelet, see the Node object.
# Needs lib.sh and agent.sh.

NB_HEALTHZ="${NB_HEALTHZ:-http://127.0.0.1:10248/healthz}"
# Seconds in which a started kubelet has to be healthy and registered, else its credential is made anew.
NB_KUBELET_LIMIT="${NB_KUBELET_LIMIT:-120}"
NB_PKI="$ROOT/etc/kubernetes/pki"
NB_BOOTSTRAP="$ROOT/etc/kubernetes/bootstrap-kubelet.conf"
NB_KUBELET_PEM="$ROOT/var/lib/kubelet/pki/kubelet-client-current.pem"

nb_join_kubelet() {
	local method="$1" started attempt=0
	command -v kubelet >/dev/null || nb_fail join "this image has no kubelet: build it with KUBE=repository or KUBE=local"
	[ "$method" != certificate ] || [ -s "$NB_RUN/kubelet.key" ] ||
		nb_fail join "this image's initrd made no key for join method certificate: build it anew"
	started="$(nb_seconds)"
	while :; do
		attempt=$((attempt + 1))
		nb_step join "$method, attempt $attempt"
		nb_report join '' '' "$method, attempt $attempt" || true
		nb_lay "$NB_CONFIG/netboot/join/root" join
		nb_missing_units
		nb_resolver
		nb_runtime
		nb_start_kubelet
		if nb_registered "$method"; then
			rm -f "$NB_BOOTSTRAP"
			[ "$method" = certificate ] || rm -f "$NB_RUN/kubelet.key"
			return 0
		fi
		nb_kubelet_log >"$NB_RUN/kubelet.log"
		nb_log "$NB_RUN/kubelet.log"
		say "the kubelet did not join: $NB_REASON"
		! nb_hopeless "$NB_RUN/kubelet.log" && [ "$(nb_get fetches)" -lt "$NB_FETCHES_MOST" ] &&
			[ $(($(nb_seconds) - started)) -lt "$NB_JOIN_LIMIT" ] || return 1
		nb_backoff "$attempt"
		nb_step join "asking for a new credential"
		nb_fetch
	done
}

# nb_missing_units: units of the configuration, where the image has none of that name.
nb_missing_units() {
	local file unit folder
	for file in "$NB_CONFIG"/netboot/join/units/*; do
		[ -f "$file" ] || continue
		unit="${file##*/}"
		for folder in /etc /run /usr/local/lib /lib /usr/lib; do
			[ ! -f "$ROOT$folder/systemd/system/$unit" ] || continue 2
		done
		mkdir -p "$ROOT/etc/systemd/system" && cp "$file" "$ROOT/etc/systemd/system/$unit" ||
			nb_fail join "the unit $unit could not be written"
	done
}

# nb_resolver: pods may not be sent to systemd-resolved's own address, which is nothing inside of them.
nb_resolver() {
	local real=/run/systemd/resolve/resolv.conf config="$ROOT/var/lib/kubelet/config.yaml"
	[ -e "$ROOT$real" ] && ! grep -q '"resolvConf"' "$config" || return 0
	sed -i "1s|^{|{ \"resolvConf\": \"$real\",|" "$config"
}

# nb_runtime: kubelets before 1.27 are told their runtime by a flag, and those before 1.24 would take Docker without another.
nb_runtime() {
	local minor socket config="$ROOT/var/lib/kubelet/config.yaml" flags
	minor="$(kubelet --version 2>/dev/null | sed -n 's/^Kubernetes v1\.\([0-9]*\).*/\1/p')"
	socket="$(sed -n 's/^ *"containerRuntimeEndpoint": *"\([^"]*\)",$/\1/p' "$config")"
	[ "${minor:-99}" -lt 27 ] && [ -n "$socket" ] || return 0
	flags="--container-runtime-endpoint=$socket"
	[ "$minor" -ge 24 ] || flags="--container-runtime=remote $flags"
	sed -i '/^ *"containerRuntimeEndpoint":/d' "$config"
	sed -i "s|^NETBOOT_KUBELET_ARGS='|&$flags |" "$ROOT/etc/kubernetes/netboot-kubelet.env"
}

nb_start_kubelet() {
	rm -f "$NB_KUBELET_PEM"
	NB_KUBELET_SINCE="@$(date +%s)"
	systemctl daemon-reload && systemctl restart kubelet || nb_fail join "systemctl could not start the kubelet"
	[ -f "$NB_CONFIG/netboot/join/units/kube-proxy.service" ] || return 0
	if command -v kube-proxy >/dev/null; then
		systemctl restart kube-proxy || nb_problem "systemctl could not start kube-proxy"
	else
		say "this image has no kube-proxy: the cluster has to run it as a DaemonSet"
	fi
}

# nb_registered METHOD: wait until the kubelet is healthy and the API server shows our Node object to our certificate.
# NB_REASON is why it is not.
nb_registered() {
	local method="$1" started certificate="$NB_PKI/kubelet-client.crt" key="$NB_PKI/kubelet-client.key"
	case "$method" in
	certificate) key="$NB_RUN/kubelet.key" ;;
	tls-bootstrap) certificate="$NB_KUBELET_PEM" key="$NB_KUBELET_PEM" ;;
	esac
	started="$(nb_seconds)"
	while :; do
		if [ ! -s "$certificate" ]; then
			NB_REASON="it has no certificate: $(nb_kubelet_reason)"
		elif [ "$(timeout 5 busybox wget -q -O - "$NB_HEALTHZ" 2>/dev/null)" != ok ]; then
			NB_REASON="it is not healthy: $(nb_kubelet_reason)"
		elif nb_node_object "$certificate" "$key"; then
			return 0
		else
			NB_REASON="$NB_API_ANSWER; $(nb_kubelet_reason)"
		fi
		nb_kubelet_log >"$NB_RUN/.kubelet.log"
		! nb_hopeless "$NB_RUN/.kubelet.log" || return 1
		[ $(($(nb_seconds) - started)) -lt "$NB_KUBELET_LIMIT" ] || return 1
		sleep "${NB_KUBELET_PAUSE:-2}"
	done
}

# nb_node_object CERTIFICATE KEY: does the API server, proven by the cluster's CA, show us our own Node object?
nb_node_object() {
	local host name=-verify_hostname answer
	nb_url_split "$(cat "$(nb_file join/server)")"
	host="$URL_HOST"
	case "$host" in
	*:*) name=-verify_ip host="[$host]" ;;
	*) ! nb_is_ipv4 "$host" || name=-verify_ip ;;
	esac
	answer="$(
		printf 'GET /api/v1/nodes/%s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nConnection: close\r\n\r\n' \
			"$(nb_get node)" "$URL_AUTHORITY" |
			timeout 15 openssl s_client -quiet -connect "$host:$URL_PORT" -CAfile "$NB_PKI/ca.crt" -no-CApath -no-CAstore \
				-verify_return_error "$name" "$URL_HOST" -cert "$1" -key "$2" 2>"$NB_RUN/.api.log" | head -n 1
	)"
	NB_API_ANSWER="the API server at $URL_AUTHORITY says $(printf '%s' "$answer" | nb_clean)"
	case "$answer" in
	"HTTP/1."[01]" 200"*) return 0 ;;
	'') NB_API_ANSWER="the API server at $URL_AUTHORITY does not answer us: $(grep -m 1 -i error "$NB_RUN/.api.log" | nb_clean)" ;;
	"HTTP/1."[01]" 404"*) NB_API_ANSWER="the API server at $URL_AUTHORITY has no Node object of ours yet" ;;
	esac
	return 1
}

# nb_kubelet_log: the last lines of the kubelet's log, without anything that looks like a token.
nb_kubelet_log() {
	if nb_has_systemd; then
		# Before the join it failed for want of a configuration: those lines are no reason.
		journalctl -u kubelet --since "$NB_KUBELET_SINCE" -n 40 -o cat --no-pager 2>/dev/null
	else
		tail -n 40 "$ROOT/var/log/kubelet.log" 2>/dev/null
	fi | nb_redact
}

# nb_kubelet_reason: the kubelet's own words.
nb_kubelet_reason() {
	nb_kubelet_log >"$NB_RUN/.kubelet.log"
	{
		grep -Ei '^E[0-9]{4} |failed|error|denied|refused' "$NB_RUN/.kubelet.log" | tail -n 2 | grep . ||
			tail -n 1 "$NB_RUN/.kubelet.log" | grep . || echo "its log is empty"
	} | nb_clean
}

# nb_hopeless LOG: is this something that no new credential heals?
nb_hopeless() {
	grep -Eqi 'unknown flag|failed to parse kubelet|failed to load kubelet config|strict decoding|is not approved|signing request is denied|unknown .kubernetes.io' "$1"
}
