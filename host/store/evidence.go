package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
)

// evidenceName is what a file may be called: a name without a path, and without
// a suffix that the store uses itself.
var evidenceName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,99}$`)

// sumSuffix is the name of the file beside a piece of evidence that has its
// SHA-256, as sha256sum writes and checks it.
const sumSuffix = ".sha256"

// WriteEvidence keeps what proves that a block was refused, and returns the file's
// path. The directory is bounded, and what came first explains the rest: a name
// that is there already keeps its content, and when the directory is full new
// files are refused with [ErrEvidenceFull].
func (s *Store) WriteEvidence(name string, b []byte) (string, error) {
	if err := s.writable(); err != nil {
		return "", err
	}
	switch {
	case !evidenceName.MatchString(name) || path.Ext(name) == tmpSuffix || path.Ext(name) == sumSuffix:
		return "", fmt.Errorf("evidence file name %.120q: want lower-case letters, digits, '.', '_' and '-', at most 100", name)
	case len(b) > MaxEvidenceBytes:
		return "", fmt.Errorf("evidence %s: %w: %d bytes, limit %d", name, ErrTooLarge, len(b), MaxEvidenceBytes)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	file := filepath.Join(s.dir, evidenceDir, name)
	names, err := s.Evidence()
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if n == name {
			return file, nil
		}
	}
	if len(names) >= MaxEvidenceFiles {
		return "", fmt.Errorf("evidence %s: %w: %d files", name, ErrEvidenceFull, len(names))
	}
	if err := s.writeEvidence(file, name, b); err != nil {
		return "", fmt.Errorf("evidence %s: %w", name, err)
	}
	return file, nil
}

func (s *Store) writeEvidence(file, name string, b []byte) error {
	disk := s.opts.FS
	if err := disk.MkdirAll(filepath.Dir(file)); err != nil {
		return err
	}
	if err := writeFile(disk, file+sumSuffix, evidenceSum(name, b)); err != nil {
		return err
	}
	if err := writeFile(disk, file, b); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(file))
}

func evidenceSum(name string, b []byte) []byte {
	h := sha256.Sum256(b)
	return []byte(hex.EncodeToString(h[:]) + "  " + name + "\n")
}

// Evidence lists the names of the evidence files.
func (s *Store) Evidence() (names []string, err error) {
	all, err := s.opts.FS.ReadDir(filepath.Join(s.dir, evidenceDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", evidenceDir, err)
	}
	for _, name := range all {
		if path.Ext(name) != sumSuffix && path.Ext(name) != tmpSuffix {
			names = append(names, name)
		}
	}
	return names, nil
}

// checkEvidence compares the files with their sums.
func (s *Store) checkEvidence(report func(error) error) error {
	names, err := s.Evidence()
	if err != nil {
		return err
	}
	for _, name := range names {
		file := path.Join(evidenceDir, name)
		b, err := s.readFile(file, MaxEvidenceBytes)
		if err != nil {
			return err
		}
		sum, err := s.readFile(file+sumSuffix, maxVersionBytes)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !bytes.Equal(sum, evidenceSum(name, b)) {
			if err := report(corrupt(file, -1, NoHeight, "content does not match %s", name+sumSuffix)); err != nil {
				return err
			}
		}
	}
	return nil
}
