module github.com/fluxcd/pkg/artifact

go 1.26.0

require github.com/fluxcd/pkg/apis/meta v1.30.2
