package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/node"
)

// errInputSize is wrapped when an input is larger than anything it could be.
var errInputSize = errors.New("input is too large")

// readInput reads a file, or standard input if its name is -, of at most limit bytes.
func readInput(name string, limit int, std cli.IO) ([]byte, error) {
	r := std.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%w: %s has more than %d bytes", errInputSize, name, limit)
	}
	return b, err
}

// readEvidence is readInput of what is to be verified: too much of it is not what
// it says it is.
func readEvidence(name string, limit int, std cli.IO) ([]byte, error) {
	b, err := readInput(name, limit, std)
	if errors.Is(err, errInputSize) {
		err = fmt.Errorf("%w: %w", node.ErrVerification, err)
	}
	return b, err
}

// writeNew writes a file that appears whole or not at all, and replaces none.
func writeNew(file string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // the file has its own name by then, or is not wanted
	_, err = f.Write(b)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file) // unlike a rename it replaces nothing
}
