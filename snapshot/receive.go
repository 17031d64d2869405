package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
)

// Incoming is a snapshot that arrives chunk by chunk, from any number of sources
// and over any number of runs of the program: what is there stays there until it
// is committed or discarded. It belongs to one goroutine.
type Incoming struct {
	Manifest *Manifest

	dir     *Dir
	lock    io.Closer // nil: ended
	path    string    // where it is collected
	have    []bool    // by chunk
	missing int
}

// fetchSuffix ends the name of a directory in which a snapshot is collected.
const fetchSuffix = ".fetching"

// Receive begins to collect the snapshot of a manifest, or goes on where an
// earlier Incoming of the same manifest ended: chunks that are there are checked
// again and kept. Remains of all others are removed. [ErrLocked] is wrapped while
// the directory is used by another.
func (d *Dir) Receive(manifest []byte) (*Incoming, error) {
	m, err := DecodeManifest(manifest)
	if err != nil {
		return nil, err
	}
	lock, err := d.lockDir()
	if err != nil {
		return nil, err
	}
	in := &Incoming{Manifest: m, dir: d, lock: lock, path: filepath.Join(d.Path, m.Name()+fetchSuffix), have: make([]bool, len(m.Chunks)), missing: len(m.Chunks)}
	if err := in.begin(manifest); err != nil {
		return nil, errors.Join(fmt.Errorf("receive snapshot %s: %w", m.Name(), err), in.Close())
	}
	return in, nil
}

// begin makes the directory of this manifest, or finds what it holds.
func (in *Incoming) begin(manifest []byte) error {
	disk := in.dir.fs()
	if err := in.dir.clear(in.path); err != nil {
		return err
	}
	b, err := readFile(disk, filepath.Join(in.path, ManifestFile), len(manifest))
	if err == nil && bytes.Equal(b, manifest) {
		return in.resume()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrTooLarge) {
		return err
	}
	if err := removeAll(disk, in.path); err != nil {
		return err
	}
	if err := disk.MkdirAll(in.path); err != nil {
		return err
	}
	return in.write(ManifestFile, manifest)
}

// resume takes over the chunks that are there, and removes whatever is not one.
func (in *Incoming) resume() error {
	disk := in.dir.fs()
	names, err := disk.ReadDir(in.path)
	if err != nil {
		return err
	}
	s := &Snapshot{Manifest: in.Manifest, Path: in.path, fs: disk}
	var buf []byte
	for _, name := range names {
		i, ok := parseChunkFile(name, len(in.have))
		if name == ManifestFile {
			continue
		}
		if ok {
			b, err := s.ChunkBytes(i, buf)
			var bad *DamageError
			if err == nil {
				in.have[i], in.missing, buf = true, in.missing-1, b
				continue
			}
			if !errors.As(err, &bad) {
				return err
			}
		}
		if err := disk.Remove(filepath.Join(in.path, name)); err != nil {
			return err
		}
	}
	return nil
}

// write puts a file there, and returns when it is durable.
func (in *Incoming) write(name string, b []byte) error {
	f, err := in.dir.fs().Create(filepath.Join(in.path, name))
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s of snapshot %s: %w", name, in.Manifest.Name(), err)
	}
	return nil
}

// Missing lists the chunks that are not there yet, ascending.
func (in *Incoming) Missing() []int {
	missing := make([]int, 0, in.missing)
	for i, have := range in.have {
		if !have {
			missing = append(missing, i)
		}
	}
	return missing
}

// Put keeps a chunk's file. What is not the file that the manifest names is a
// *[DamageError]: its sender is wrong, and nothing was kept. Any other error is
// this machine's; what is there can still be gone on with.
func (in *Incoming) Put(i int, file []byte) error {
	if i < 0 || i >= len(in.have) {
		return &DamageError{in.path, i, refuse(ErrTooLarge, "chunk %d of %d", i, len(in.have))}
	}
	if err := in.Manifest.Chunks[i].CheckTransfer(file); err != nil {
		return &DamageError{in.path, i, err}
	}
	if in.have[i] {
		return nil
	}
	if err := in.write(ChunkFile(i), file); err != nil {
		return err
	}
	in.have[i], in.missing = true, in.missing-1
	return nil
}

// Commit makes the snapshot appear in the directory, all of it at once. Its chunks
// are what the manifest says; whether that is the state of its block, [Restore]
// finds out.
func (in *Incoming) Commit() (*Snapshot, error) {
	if in.missing > 0 {
		return nil, &DamageError{in.path, in.Missing()[0], refuse(ErrMissing, "%d of %d chunks have not arrived", in.missing, len(in.have))}
	}
	path := filepath.Join(in.dir.Path, in.Manifest.Name())
	if err := in.dir.publish(in.path, path); err != nil {
		return nil, fmt.Errorf("publish snapshot %s: %w", path, err)
	}
	return &Snapshot{Manifest: in.Manifest, Path: path, fs: in.dir.fs()}, in.Close()
}

// Close ends the Incoming and leaves what has arrived for the next one. It may be
// called after Commit and Discard, and then does nothing.
func (in *Incoming) Close() error {
	if in.lock == nil {
		return nil
	}
	err := in.lock.Close()
	in.lock = nil
	return err
}

// Discard ends the Incoming and removes what has arrived.
func (in *Incoming) Discard() error {
	if in.lock == nil {
		return nil
	}
	return errors.Join(removeAll(in.dir.fs(), in.path), in.Close())
}

// Unfinished returns the manifests of the snapshots that [Dir.Receive] could go on
// with. Damaged remains are left out: they are of no use.
func (d *Dir) Unfinished() ([]*Manifest, error) {
	names, err := d.fs().ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*Manifest
	for _, name := range names {
		of, ok := strings.CutSuffix(name, fetchSuffix)
		if !ok {
			continue
		}
		s, err := Open(d.fs(), filepath.Join(d.Path, name))
		var bad *DamageError
		switch {
		case err == nil && s.Manifest.Name() == of:
			list = append(list, s.Manifest)
		case err != nil && !errors.As(err, &bad):
			return nil, err
		}
	}
	return list, nil
}
