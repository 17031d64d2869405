package tidy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoModule is returned when no directory above has a go.mod.
var ErrNoModule = errors.New("no go.mod in this directory or above it")

// Top is the directory of the go.mod that is nearest to dir, upwards, and its
// module path.
func Top(dir string) (top, module string, err error) {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		switch parent := filepath.Dir(dir); {
		case err == nil:
			module, _, _ = strings.Cut(strings.TrimPrefix(string(b), "module "), "\n")
			return dir, module, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", "", err
		case parent == dir:
			return "", "", ErrNoModule
		default:
			dir = parent
		}
	}
}

// Read reads every file below top that .gitignore does not name, and that is not
// git's own.
func Read(top fs.FS) (files []File, err error) {
	ignored, err := ignore(top)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(top, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && (d.Name() == ".git" || ignored(name)):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular():
			return nil
		}
		data, err := fs.ReadFile(top, name)
		files = append(files, File{Path: name, Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the repository: %w", err)
	}
	return files, nil
}

// ignore understands the two forms of pattern that .gitignore here uses: /name
// for one path from the top, and a pattern of [path.Match] for a base name
// anywhere. A trailing slash, which means a directory, is taken off.
func ignore(top fs.FS) (func(name string) bool, error) {
	b, err := fs.ReadFile(top, ".gitignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSuffix(strings.TrimSpace(line), "/"); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return func(name string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			if anchored, ok := strings.CutPrefix(pattern, "/"); ok {
				return name == anchored
			}
			matched, err := path.Match(pattern, path.Base(name))
			return matched && err == nil
		})
	}, nil
}
