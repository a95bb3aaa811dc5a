# The boot image and the appliance that serves it. docs/images.md explains the arguments.
#
#   buildah build --build-arg KUBE=repository -t netboot .        (scripts/build-image does this, with a cache)
#
# Give KUBE explicitly, also where it is the default: buildah 1.28 otherwise skips the stage that it selects.

ARG BASE=debian:bookworm-slim
ARG KUBE=repository

# --- the root of a node ---------------------------------------------------------------------------------------------
FROM ${BASE} AS root
ARG COMPONENTS=main
ARG KERNEL=linux-image-amd64
ARG EXTRA_PACKAGES=
COPY images/root/packages /tmp/netboot/packages
COPY images/root/install /tmp/netboot/install
RUN sh /tmp/netboot/install "$COMPONENTS" "$KERNEL" "$EXTRA_PACKAGES" && rm -rf /tmp/netboot

# --- kubelet, kubeadm, crictl: one of three --------------------------------------------------------------------------
# The package repository of the Kubernetes project, for one minor version.
FROM root AS kube-repository
ARG KUBE_MINOR=1.34
COPY images/root/kube-repository images/root/kube-check /tmp/netboot/
RUN --mount=type=secret,id=ca sh /tmp/netboot/kube-repository "$KUBE_MINOR" && rm -rf /tmp/netboot

# Real binaries of your own: --build-context kube=DIR with kubelet, kubeadm and (kubeadm needs it before 1.31) crictl in it.
FROM root AS kube-local
COPY --from=kube kubelet kubeadm crictl* /usr/bin/
COPY images/root/kubelet.service /usr/lib/systemd/system/kubelet.service
COPY images/root/10-kubeadm.conf /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
COPY images/root/kube-check /tmp/netboot/kube-check
RUN chmod 0755 /usr/bin/kubelet /usr/bin/kubeadm && sh /tmp/netboot/kube-check && rm -rf /tmp/netboot

# The tests' stand-in: it joins and renews its Lease in the real protocol, and runs no pod.
FROM root AS kube-standin
COPY images/node-standin /usr/lib/node-standin
RUN cd /usr/lib/node-standin && for name in kubelet kubeadm crictl; do chmod 0755 $name && ln -s ../lib/node-standin/$name /usr/bin/$name || exit 1; done \
    && mkdir -p /usr/lib/systemd/system/kubelet.service.d && mv kubelet.service /usr/lib/systemd/system/ \
    && mv 10-kubeadm.conf /usr/lib/systemd/system/kubelet.service.d/ && python3 -m compileall -q .

# --- further kernel modules ------------------------------------------------------------------------------------------
# Compilers and headers stay in this stage; only what a recipe leaves in /out reaches the image.
FROM root AS modules
ARG EXTRA_MODULES=
COPY images/modules /tmp/netboot/modules
RUN sh /tmp/netboot/modules/build /tmp/netboot/modules /out "$EXTRA_MODULES"

# --- the root with our parts -----------------------------------------------------------------------------------------
FROM kube-${KUBE} AS system
ARG SOURCE_DATE_EPOCH=1700000000
COPY --from=modules /out/ /
COPY images/initrd/lib.sh images/initrd/initrd.sh images/initrd/dhcp-script images/initrd/start /usr/lib/netboot/
COPY images/initrd/initramfs-tools/ /etc/initramfs-tools/
COPY images/agent/agent.sh images/agent/kubelet.sh images/agent/network-functions.sh images/agent/netboot-agent /usr/lib/netboot/
COPY images/agent/netboot-config.service images/agent/netboot-join.service /usr/lib/systemd/system/
COPY images/root/files/ /
COPY docs/images.md /usr/share/doc/netboot/images.md
COPY images/root/finish /tmp/netboot/finish
RUN SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH sh /tmp/netboot/finish

# --- squashfs and manifest -------------------------------------------------------------------------------------------
FROM ${BASE} AS squash
RUN apt-get -q update && apt-get -q install -y --no-install-recommends squashfs-tools python3 && rm -rf /var/lib/apt/lists/*
ARG NAME=debian-12
ARG ZSTD_LEVEL=3
ARG MIN_RAM=1024
ARG KERNEL_PARAMETERS=
ARG SOURCE_DATE_EPOCH=1700000000
# A hash of the inputs: buildah's cache does not look into a mounted stage.
ARG INPUTS=
COPY images/builder/store.py /usr/lib/netboot/store.py
COPY images/root/pack /usr/lib/netboot/pack
# Before the mount: buildah runs stages at once and waits for another stage's end at a COPY only, not at a mount.
COPY --from=system /boot/vmlinuz /boot/initrd.img /boot/
RUN --mount=type=bind,from=system,source=/,target=/system \
    INPUTS="$INPUTS" sh /usr/lib/netboot/pack /system /store "$NAME" "$ZSTD_LEVEL" "$MIN_RAM" "$SOURCE_DATE_EPOCH" $KERNEL_PARAMETERS

# Nothing but the image store: scripts/build-image copies it out.
FROM scratch AS store
COPY --from=squash /store /images

# --- the appliance ---------------------------------------------------------------------------------------------------
FROM ${BASE} AS appliance
RUN apt-get -q update && apt-get -q install -y --no-install-recommends python3 python3-venv ipxe libcap2-bin openssl ca-certificates \
    && rm -rf /var/lib/apt/lists/* && useradd --system --home-dir /var/lib/netboot --shell /usr/sbin/nologin netboot \
    && install -d -o netboot -g netboot -m 0700 /var/lib/netboot && install -d -m 0755 /etc/netboot /srv/netboot/files
COPY requirements.lock pyproject.toml README.md LICENSE /tmp/netboot/
COPY netboot /tmp/netboot/netboot
# The lock file only constrains: the tests' tools in it stay out. The secret `ca` is a bundle of certificates for a site
# whose way out has an authority of its own; it stays in no layer.
# Ports below 1024 and raw frames without root: the capabilities are the interpreter's of this environment, nobody else's.
RUN --mount=type=secret,id=ca python3 -m venv --copies /opt/netboot && if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && pip() { /opt/netboot/bin/pip install -q --disable-pip-version-check --no-cache-dir -c /tmp/netboot/requirements.lock "$@"; } \
    && pip --upgrade setuptools && pip --no-build-isolation /tmp/netboot && rm -rf /tmp/netboot \
    && /opt/netboot/bin/python3 -m compileall -q /opt/netboot/lib \
    && setcap cap_net_bind_service,cap_net_raw+ep "$(readlink -f /opt/netboot/bin/python3)" \
    && ln -s /opt/netboot/bin/netboot /usr/local/bin/netboot
COPY --from=squash /store /srv/netboot/images
USER netboot
EXPOSE 67/udp 69/udp 80/tcp 4011/udp 8443/tcp
VOLUME /var/lib/netboot
ENTRYPOINT ["/opt/netboot/bin/netboot", "serve", "--config", "/etc/netboot"]
