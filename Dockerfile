# syntax=docker/dockerfile:1
# The controller's image: one static binary and CA certificates on an empty root, run as 65532. hack/image makes the same without
# a container runtime, and is what the suites run.
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag tidegate .
#
# linux/amd64. linux/arm64 (docker build --platform linux/arm64, on a machine that can run it) should work and is untested.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# The C compiler is for ring; the certificates are what the image carries.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY . .
# With --target build scripts and macros are left as they are; only then can the rest be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    triple="$(uname -m)-unknown-linux-gnu" \
 && RUSTFLAGS="-C target-feature=+crt-static" \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=s \
    cargo build --locked --release --target "$triple" --bin tidegate \
 && mkdir -p /image/etc/ssl/certs \
 && install -m 0444 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && install -m 0555 "target/$triple/release/tidegate" /image/tidegate

FROM scratch
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tidegate" \
      org.opencontainers.image.description="All-or-nothing GitOps releases" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# Certificates first: they change less often.
COPY --from=build /image/etc /etc
COPY --from=build /image/tidegate /tidegate
USER 65532:65532
ENTRYPOINT ["/tidegate"]
CMD ["controller"]
