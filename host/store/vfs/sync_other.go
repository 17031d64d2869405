//go:build !linux

package vfs

// Sync implements [File].
func (f osFile) Sync() error { return f.File.Sync() }

// OpenSync implements [FS].
func (d OS) OpenSync(name string) (File, error) {
	f, err := d.OpenWrite(name)
	return syncFile{f}, err
}

// syncFile syncs after every write.
type syncFile struct{ File }

func (f syncFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	if err == nil {
		err = f.Sync()
	}
	return n, err
}
