package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/kaizenchain/kaizen/host/store/vfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f vfs.File, at int64, b []byte) {
	t.Helper()
	_, err := f.WriteAt(b, at)
	must(t, err)
}

// machine has a file "/d/f" of two synced sectors of 1.
func machine(t *testing.T) (*FS, vfs.File) {
	disk := New()
	must(t, disk.MkdirAll("/d"))
	f, err := disk.Create("/d/f")
	must(t, err)
	write(t, f, 0, bytes.Repeat([]byte{1}, 2*SectorBytes))
	must(t, f.Sync())
	must(t, disk.SyncDir("/d"))
	return disk, f
}

func TestPowerLossKeepsWhatWasSynced(t *testing.T) {
	for _, loss := range []Loss{LoseAll, KeepAll, Torn(1), Torn(2)} {
		disk, _ := machine(t)
		disk.PowerLoss(loss)
		if b := disk.ReadFile("/d/f"); !bytes.Equal(b, bytes.Repeat([]byte{1}, 2*SectorBytes)) {
			t.Errorf("%v: %d bytes are left", loss, len(b))
		}
	}
}

// TestOpenSync: a write is durable when it returns, and refused where a disk would.
func TestOpenSync(t *testing.T) {
	disk, _ := machine(t)
	f, err := disk.OpenSync("/d/f")
	must(t, err)
	b := vfs.Buffer(2 * SectorBytes)
	for name, bad := range map[string]func() (int, error){
		"offset": func() (int, error) { return f.WriteAt(b, 1) },
		"length": func() (int, error) { return f.WriteAt(b[:SectorBytes+1], 0) },
		"memory": func() (int, error) { return f.WriteAt(b[1:SectorBytes+1], 0) },
	} {
		if _, err := bad(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, f, SectorBytes, b[:SectorBytes])
	disk.PowerLoss(LoseAll)
	if got := disk.ReadFile("/d/f"); !bytes.Equal(got[SectorBytes:], b[:SectorBytes]) || got[0] != 1 {
		t.Errorf("%d bytes are left, the second sector begins with %d", len(got), got[SectorBytes])
	}
}

func TestPowerLossOfUnsynced(t *testing.T) {
	count := func(loss Loss) (twos int) {
		disk, f := machine(t)
		write(t, f, 100, bytes.Repeat([]byte{2}, 2*SectorBytes))
		disk.PowerLoss(loss)
		b := disk.ReadFile("/d/f")
		for at := 100; at < len(b); { // sector by sector, all of the write or nothing
			end := min(at/SectorBytes*SectorBytes+SectorBytes, 100+2*SectorBytes, len(b))
			part := b[at:end]
			for _, v := range part {
				if v != part[0] {
					t.Fatalf("%v: the sector at %d is half written", loss, at)
				}
			}
			if part[0] == 2 {
				twos++
			}
			at = end
		}
		return twos
	}
	if n := count(LoseAll); n != 0 {
		t.Errorf("lose all kept %d sectors", n)
	}
	if n := count(KeepAll); n != 3 {
		t.Errorf("keep all kept %d sectors of 3", n)
	}
	seen := map[int]bool{}
	for seed := range uint64(50) {
		seen[count(Torn(seed))] = true
	}
	if len(seen) != 4 {
		t.Errorf("torn writes kept %v sectors, want everything from 0 to 3", seen)
	}
	if count(Torn(7)) != count(Torn(7)) {
		t.Error("equal seeds lose differently")
	}
}

func TestNames(t *testing.T) {
	disk, _ := machine(t)
	must(t, disk.Rename("/d/f", "/d/g"))
	_, err := disk.Create("/d/h")
	must(t, err)
	if _, err := disk.Open("/d/f"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name: %v", err)
	}
	disk.PowerLoss(LoseAll)
	if names, _ := disk.ReadDir("/d"); len(names) != 1 || names[0] != "f" {
		t.Errorf("names that were not synced: %v", names)
	}
	must(t, disk.Rename("/d/f", "/d/g"))
	must(t, disk.SyncDir("/d"))
	must(t, disk.Remove("/d/g"))
	disk.PowerLoss(LoseAll)
	if names, _ := disk.ReadDir("/d"); len(names) != 1 || names[0] != "g" {
		t.Errorf("a rename that was synced, a removal that was not: %v", names)
	}
	if err := disk.Remove("/d/x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove nothing: %v", err)
	}
}

// TestFailedSync is fsyncgate: what a failed sync did not write, a later one that
// succeeds does not write either.
func TestFailedSync(t *testing.T) {
	disk, f := machine(t)
	write(t, f, 0, []byte{9})
	disk.FailAt(1, Fail)
	if err := f.Sync(); !errors.Is(err, ErrInjected) {
		t.Fatal(err)
	}
	must(t, f.Sync())
	if disk.ReadFile("/d/f")[0] != 9 {
		t.Error("the write is not visible")
	}
	disk.PowerLoss(KeepAll)
	if disk.ReadFile("/d/f")[0] != 1 {
		t.Error("the write is on the disk")
	}
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		fault   Fault
		visible int // bytes of 9 of a write of two sectors
		durable int
		dead    bool
	}{
		{Fail, 0, 0, false},
		{FailPersisted, 2 * SectorBytes, 2 * SectorBytes, false},
		{Short, SectorBytes, 0, false},
		{Crash, 0, 0, true},
		{CrashShort, SectorBytes, 0, true},
	} {
		disk, f := machine(t)
		disk.FailAt(1, tc.fault)
		if _, err := f.WriteAt(bytes.Repeat([]byte{9}, 2*SectorBytes), 0); !errors.Is(err, ErrInjected) && !errors.Is(err, ErrCrashed) {
			t.Errorf("%s: %v", tc.fault, err)
		}
		if n := bytes.Count(disk.ReadFile("/d/f"), []byte{9}); n != tc.visible || disk.Crashed() != tc.dead {
			t.Errorf("%s: %d bytes are visible, crashed %v", tc.fault, n, disk.Crashed())
		}
		if _, err := disk.Open("/d/f"); errors.Is(err, ErrCrashed) != tc.dead {
			t.Errorf("%s: open afterwards: %v", tc.fault, err)
		}
		disk.PowerLoss(LoseAll)
		if n := bytes.Count(disk.ReadFile("/d/f"), []byte{9}); n != tc.durable {
			t.Errorf("%s: %d bytes are durable", tc.fault, n)
		}
		if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrCrashed) {
			t.Errorf("%s: a handle of before the power loss: %v", tc.fault, err)
		}
	}
}

func TestLock(t *testing.T) {
	disk, _ := machine(t)
	l, err := disk.Lock("/d/LOCK", "pid 7")
	must(t, err)
	var held *vfs.LockedError
	if _, err := disk.Lock("/d/LOCK", "pid 8"); !errors.As(err, &held) || held.Holder != "pid 7" {
		t.Errorf("second lock: %v", err)
	}
	disk.Kill()
	again, err := disk.Lock("/d/LOCK", "pid 9")
	must(t, err)
	must(t, l.Close()) // of a dead process: releases nothing
	if _, err := disk.Lock("/d/LOCK", "pid 8"); !errors.As(err, &held) {
		t.Errorf("lock after a dead process closed: %v", err)
	}
	must(t, again.Close())
	_, err = disk.Lock("/d/LOCK", "pid 8")
	must(t, err)
}
