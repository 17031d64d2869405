package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// Dir is a directory of snapshots, one directory each.
type Dir struct {
	Path string
	FS   vfs.FS // nil: the operating system's
}

func (d *Dir) fs() vfs.FS {
	if d.FS == nil {
		return vfs.OS{}
	}
	return d.FS
}

func (d *Dir) lockDir() (io.Closer, error) {
	if err := d.fs().MkdirAll(d.Path); err != nil {
		return nil, err
	}
	lock, err := d.fs().Lock(filepath.Join(d.Path, lockFile), fmt.Sprintf("pid %d", os.Getpid()))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("%w: %s is locked by %s", ErrLocked, d.Path, held.Holder)
	}
	return lock, err
}

// parseName reads what [Manifest.Name] wrote.
func parseName(name string) (height uint64, prefix string, ok bool) {
	digits, prefix, found := strings.Cut(name, "-")
	height, err := strconv.ParseUint(digits, 10, 64)
	if !found || err != nil || strconv.FormatUint(height, 10) != digits {
		return 0, "", false
	}
	b, err := hex.DecodeString(prefix)
	return height, prefix, err == nil && len(b) == nameBytes && hex.EncodeToString(b) == prefix
}

// Info is a line of [Dir.List].
type Info struct {
	Name   string
	Path   string
	Height uint64 // from the name
	// Snapshot is nil, and Err says why, if the manifest is damaged.
	Snapshot *Snapshot
	Err      error
}

// List reads the manifests of all snapshots of a directory, the highest block
// first. One that is damaged is listed with what is wrong. A directory that does
// not exist has none.
func (d *Dir) List() ([]Info, error) {
	names, err := d.fs().ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, name := range names {
		height, _, ok := parseName(name)
		if !ok {
			continue
		}
		list = append(list, d.inspect(name, height))
	}
	slices.SortStableFunc(list, func(a, b Info) int {
		switch {
		case a.Height > b.Height:
			return -1
		case a.Height < b.Height:
			return 1
		}
		return 0
	})
	return list, nil
}

// inspect opens one snapshot. Its name is part of what it claims: it is what a
// reader chooses by.
func (d *Dir) inspect(name string, height uint64) Info {
	i := Info{Name: name, Path: filepath.Join(d.Path, name), Height: height}
	s, err := Open(d.fs(), i.Path)
	if err == nil && s.Manifest.Name() != name {
		err = s.damage(-1, refuse(ErrName, "%s, want %s", name, s.Manifest.Name()))
	}
	if err != nil {
		i.Err = err
		return i
	}
	i.Snapshot = s
	return i
}

// At returns the snapshot of a block, [ErrNotFound] if there is none that is
// whole as far as the manifest tells.
func (d *Dir) At(height uint64) (*Snapshot, error) {
	list, err := d.List()
	if err != nil {
		return nil, err
	}
	var damage error
	for _, i := range list {
		if i.Height == height && i.Err == nil {
			return i.Snapshot, nil
		}
		if i.Height == height {
			damage = i.Err
		}
	}
	if damage != nil {
		return nil, damage
	}
	return nil, fmt.Errorf("%w: block %d in %s", ErrNotFound, height, d.Path)
}

// Remove deletes one snapshot by its name.
func (d *Dir) Remove(name string) error {
	if _, _, ok := parseName(name); !ok {
		return fmt.Errorf("%w: %q is not the name of one", ErrNotFound, name)
	}
	return d.change(func() error { return removeSnapshot(d.fs(), filepath.Join(d.Path, name)) })
}

func (d *Dir) change(do func() error) error {
	lock, err := d.lockDir()
	if err != nil {
		return err
	}
	return errors.Join(do(), lock.Close())
}

// removeSnapshot takes the manifest away first: a crash then leaves a directory
// that is no snapshot, and not one that lacks chunks.
func removeSnapshot(disk vfs.FS, path string) error {
	err := disk.Remove(filepath.Join(path, ManifestFile))
	if err == nil {
		err = disk.SyncDir(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return removeAll(disk, path)
}

// Prune removes all but the keep newest snapshots that can be restored, what those
// stand on, and damaged ones in between, which stay for an operator to look at.
func (d *Dir) Prune(keep int) (removed []string, err error) {
	return d.PruneExcept(keep, func(uint64) bool { return false })
}

// PruneExcept is [Dir.Prune] which leaves older ones, too, if also is true of their
// block. It is asked for every snapshot whose manifest is whole, the highest block
// first.
func (d *Dir) PruneExcept(keep int, also func(height uint64) bool) (removed []string, err error) {
	needed := make(map[string]bool)
	return d.removeIf(func(list []Info, i *Info) bool {
		wanted := i.Err == nil && also(i.Height)
		if needed[i.Path] {
			keep--
			return false
		}
		if i.Err != nil {
			return keep <= 0
		}
		links, err := chainIn(list, i.Snapshot)
		if keep <= 0 && !wanted || err != nil {
			return keep <= 0
		}
		keep--
		for _, s := range links {
			needed[s.Path] = true
		}
		return false
	})
}

// RemoveAbove removes the snapshots of blocks above a height: those blocks were
// taken back.
func (d *Dir) RemoveAbove(height uint64) (removed []string, err error) {
	return d.removeIf(func(_ []Info, i *Info) bool { return i.Height > height })
}

// removeIf asks for every snapshot of the list, the highest block first.
func (d *Dir) removeIf(out func(list []Info, i *Info) bool) (removed []string, err error) {
	err = d.change(func() error {
		list, err := d.List()
		if err != nil {
			return err
		}
		for i := range list {
			if !out(list, &list[i]) {
				continue
			}
			if err := removeSnapshot(d.fs(), list[i].Path); err != nil {
				return err
			}
			removed = append(removed, list[i].Name)
		}
		return nil
	})
	return removed, err
}

// Newest calls try with the snapshots of blocks up to a height, the newest first,
// until it returns true. skip is told of those whose manifest is damaged.
func (d *Dir) Newest(height uint64, try func(*Snapshot) bool, skip func(Info)) error {
	list, err := d.List()
	if err != nil {
		return err
	}
	for _, i := range list {
		switch {
		case i.Height > height:
		case i.Err != nil:
			skip(i)
		case try(i.Snapshot):
			return nil
		}
	}
	return nil
}
