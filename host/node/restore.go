package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/store/vfs"
	"github.com/kaizenchain/kaizen/snapshot"
)

// ErrNotEmpty is wrapped when the directory to restore into has something in it.
var ErrNotEmpty = errors.New("directory is not empty")

// ErrRestoring is wrapped while another restores into the same directory.
var ErrRestoring = errors.New("another restore into this directory is under way")

const (
	// restoringSuffix ends the name of the directory in which a data directory is
	// put together.
	restoringSuffix = ".restoring"
	// restoringLock is held in it meanwhile.
	restoringLock = "RESTORING"
)

// RestoreOptions are what RestoreDir is given besides the snapshot.
type RestoreOptions struct {
	Genesis  *chain.Genesis
	FS       vfs.FS // nil: the operating system's
	Progress func(done, total uint64)
}

// RestoreDir makes dir, which is empty or not there, the data directory of a read
// node that begins with the state of a chain of snapshots ([snapshot.Snapshot.Chain]).
// Everything is checked first: the chain they are of, each byte, each state root.
// It is put together beside dir and renamed, so dir is at every moment empty or
// complete. That the block is on the chain is for the caller to know, or for the
// read node to find out with the first block that follows.
func RestoreDir(dir string, links []*snapshot.Snapshot, o RestoreOptions) error {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	dir = filepath.Clean(dir)
	if err := mustBeEmpty(o.FS, dir); err != nil {
		return err
	}
	for _, s := range links {
		if err := s.CheckChain(o.Genesis); err != nil {
			return damaged(err)
		}
	}
	if _, _, err := snapshot.Restore(links, snapshot.Options{Run: onAllCores, Progress: o.Progress}); err != nil {
		return damaged(err)
	}
	tmp := dir + restoringSuffix
	lock, err := lockRestoring(o.FS, tmp)
	if err != nil {
		return err
	}
	err = restoreInto(o.FS, tmp, links, o.Genesis)
	if err == nil {
		err = publishRestored(o.FS, tmp, dir)
	}
	if err = errors.Join(err, lock.Close()); err != nil {
		return fmt.Errorf("restore into %s: %w", dir, err)
	}
	return nil
}

// mustBeEmpty names what is in the way.
func mustBeEmpty(disk vfs.FS, dir string) error {
	names, err := disk.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && len(names) > 0 {
		return fmt.Errorf("%w: %s holds %s", ErrNotEmpty, dir, strings.Join(names[:min(len(names), 3)], ", "))
	}
	return err
}

// lockRestoring makes the directory in which to work, takes its lock, and removes
// what an interrupted restore left there.
func lockRestoring(disk vfs.FS, tmp string) (io.Closer, error) {
	if err := disk.MkdirAll(tmp); err != nil {
		return nil, err
	}
	lock, err := disk.Lock(filepath.Join(tmp, restoringLock), fmt.Sprintf("pid %d", os.Getpid()))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("%w: %s is locked by %s", ErrRestoring, tmp, held.Holder)
	}
	if err != nil {
		return nil, err
	}
	if err := removeBelow(disk, tmp, restoringLock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// removeBelow removes everything in a directory but one file.
func removeBelow(disk vfs.FS, dir, but string) error {
	names, err := disk.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if name == but {
			continue
		}
		if err := disk.Remove(path); err == nil {
			continue // a file, or an empty directory
		}
		if err := removeBelow(disk, path, ""); err != nil {
			return err
		}
		if err := disk.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// restoreInto puts the data directory together.
func restoreInto(disk vfs.FS, tmp string, links []*snapshot.Snapshot, g *chain.Genesis) error {
	into := SnapshotDir(tmp)
	into.FS = disk
	for _, s := range links {
		if err := copySnapshot(into, s); err != nil {
			return damaged(err)
		}
	}
	return store.InitAfter(tmp, g, links[len(links)-1].Manifest.Header.ID(), store.Options{FS: disk})
}

// copySnapshot copies one into another directory, checked on the way.
func copySnapshot(into *snapshot.Dir, s *snapshot.Snapshot) error {
	in, err := into.Receive(s.Manifest.Append(nil))
	if err != nil {
		return err
	}
	var buf []byte
	for _, i := range in.Missing() {
		if buf, err = s.ChunkBytes(i, buf); err != nil {
			return errors.Join(err, in.Close())
		}
		if err := in.Put(i, buf); err != nil {
			return errors.Join(err, in.Close())
		}
	}
	if _, err = in.Commit(); err != nil {
		return errors.Join(err, in.Close())
	}
	return nil
}

// publishRestored renames the directory while its lock is still held, and takes the
// lock's file away after that: whoever finds the old name finds it locked.
func publishRestored(disk vfs.FS, tmp, dir string) error {
	if err := disk.SyncDir(tmp); err != nil {
		return err
	}
	if err := disk.Rename(tmp, dir); err != nil {
		return err
	}
	if err := disk.SyncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := disk.Remove(filepath.Join(dir, restoringLock)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
