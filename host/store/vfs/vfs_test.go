package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestOS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	disk := OS{}
	must(t, disk.MkdirAll(dir))
	name := filepath.Join(dir, "f")
	if _, err := disk.OpenWrite(name); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("open of nothing: %v", err)
	}
	f, err := disk.Create(name)
	must(t, err)
	_, err = f.WriteAt([]byte("hello"), 2)
	must(t, err)
	must(t, f.Truncate(6))
	must(t, f.Sync())
	if n, err := f.Size(); n != 6 || err != nil {
		t.Fatalf("size is %d, %v", n, err)
	}
	must(t, f.Close())
	must(t, disk.Rename(name, name+"2"))
	must(t, disk.SyncDir(dir))
	if b, err := os.ReadFile(name + "2"); string(b) != "\x00\x00hell" || err != nil {
		t.Fatalf("content is %q, %v", b, err)
	}
	r, err := disk.Open(name + "2")
	must(t, err)
	if _, err := r.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened to read was written")
	}
	must(t, r.Close())
	_, err = disk.Create(filepath.Join(dir, "a"))
	must(t, err)
	if names, err := disk.ReadDir(dir); strings.Join(names, " ") != "a f2" || err != nil {
		t.Fatalf("names are %v, %v", names, err)
	}
	must(t, disk.Remove(name+"2"))
	if err := disk.Remove(name + "2"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("second removal: %v", err)
	}
}

// TestOpenSync: writes of sectors beside each other, on a file that is allocated and on
// one that is empty and tells nothing of what its disk takes.
func TestOpenSync(t *testing.T) {
	disk := OS{}
	for _, allocated := range []int64{0, 16 * SectorBytes} {
		name := filepath.Join(t.TempDir(), "f")
		if _, err := disk.OpenSync(name); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of nothing: %v", err)
		}
		f, err := disk.Create(name)
		must(t, err)
		must(t, f.Truncate(allocated))
		must(t, f.Close())
		f, err = disk.OpenSync(name)
		must(t, err)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				b := Buffer(3 * SectorBytes)[SectorBytes:]
				for k := range b {
					b[k] = byte(i + 1)
				}
				if _, err := f.WriteAt(b, int64(i*len(b))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		must(t, f.Close())
		b, err := os.ReadFile(name)
		must(t, err)
		if len(b) != 16*SectorBytes {
			t.Fatalf("file is %d bytes", len(b))
		}
		for k, v := range b {
			if v != byte(k/(2*SectorBytes)+1) {
				t.Fatalf("byte %d is %d", k, v)
			}
		}
	}
}

func TestLockOS(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	l, err := OS{}.Lock(name, "pid 7 with a long name")
	must(t, err)
	var held *LockedError
	if _, err := (OS{}).Lock(name, "pid 8"); !errors.As(err, &held) || held.Holder != "pid 7 with a long name" || !strings.Contains(err.Error(), "pid 7") {
		t.Fatalf("second lock: %v", err)
	}
	must(t, l.Close())
	l, err = OS{}.Lock(name, "pid 9")
	must(t, err)
	defer l.Close()
	if _, err := (OS{}).Lock(name, "pid 8"); !errors.As(err, &held) || held.Holder != "pid 9" {
		t.Fatalf("lock of the next holder: %v", err)
	}
}
