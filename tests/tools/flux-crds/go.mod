// Nothing is built from these: their files hold CRDs, which hack/tools copies beside those of ../flux.
module tidegate.dev/tests/tools/flux-crds

go 1.26.0

require (
	github.com/controlplaneio-fluxcd/flux-operator v0.58.1
	github.com/fluxcd/source-controller v1.9.4
)
