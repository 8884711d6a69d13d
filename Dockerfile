# syntax=docker/dockerfile:1
# The controller alone: a static binary, the authorities that it trusts, no shell. `cargo xtask image` makes the same image
# without a container engine. For both architectures, on any machine:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag … .
ARG RUST=1.95

FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST}-slim-bookworm AS build
# Zig is the C compiler and linker for both architectures.
ARG ZIG=0.15.2
ARG CARGO_ZIGBUILD=0.24.1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/zig \
    && /opt/zig/bin/pip install --no-cache-dir ziglang==${ZIG} cargo-zigbuild==${CARGO_ZIGBUILD}
ENV PATH=/opt/zig/bin:$PATH
WORKDIR /src
COPY . .
ARG TARGETARCH
# Without the paths of this machine, the binary is the same wherever it is built.
ENV RUSTFLAGS="--remap-path-prefix=/usr/local/cargo=/cargo"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    case "$TARGETARCH" in \
        amd64) target=x86_64-unknown-linux-musl ;; \
        arm64) target=aarch64-unknown-linux-musl ;; \
        *) echo "there is no image for $TARGETARCH" >&2; exit 1 ;; \
    esac \
    && rustup target add "$target" \
    && cargo zigbuild --release --locked --package pipeline-controller --target "$target" \
    && mkdir -p /rootfs/etc/ssl/certs /rootfs/licenses \
    && install -d -m 1777 /rootfs/tmp \
    && cp "target/$target/release/pipeline-controller" /rootfs/pipeline-controller \
    && cp /etc/ssl/certs/ca-certificates.crt /rootfs/etc/ssl/certs/ca-certificates.crt \
    && cp LICENSE /rootfs/licenses/LICENSE \
    && echo "nonroot:x:65532:" > /rootfs/etc/group \
    && echo "nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin" > /rootfs/etc/passwd

FROM scratch
COPY --from=build /rootfs/ /
USER 65532:65532
WORKDIR /
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
EXPOSE 8080 8081 8082
LABEL org.opencontainers.image.title="pipeline-controller" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/pipeline-controller/pipeline-controller" \
      org.opencontainers.image.version="0.1.0"
ENTRYPOINT ["/pipeline-controller"]
