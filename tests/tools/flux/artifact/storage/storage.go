// Package storage stands in for the package of the same path, whose module cannot be downloaded everywhere that its users can.
// image-reflector-controller calls it only behind its feature gate FluxStorage, which is off by default and in these tests:
// then the scanned tags lie in Badger. Everything here refuses, so that a gate switched on by mistake is noticed at once.
package storage

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
)

var errAbsent = errors.New("this build has no FluxStorage: leave the feature gate off")

// Storage refuses every operation.
type Storage struct {
	BasePath string
}

// MkdirAll refuses.
func (*Storage) MkdirAll(meta.Artifact) error { return errAbsent }

// AtomicWriteFile refuses.
func (*Storage) AtomicWriteFile(*meta.Artifact, io.Reader, fs.FileMode) error { return errAbsent }

// RemoveAll refuses.
func (*Storage) RemoveAll(meta.Artifact) (string, error) { return "", errAbsent }

// LocalPath names no file.
func (*Storage) LocalPath(meta.Artifact) string { return "" }

// ArtifactPath is the path of an artifact below the storage's root.
func ArtifactPath(kind, namespace, name, filename string) string {
	return path.Join(strings.ToLower(kind), namespace, name, filename)
}
