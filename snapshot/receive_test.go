package snapshot

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// sent is what a source sends of the honest snapshot.
func sent(t testing.TB) (manifest []byte, chunks [][]byte) {
	t.Helper()
	return sentOf(t, honest())
}

func sentOf(t testing.TB, s *Snapshot) (manifest []byte, chunks [][]byte) {
	t.Helper()
	for i := range s.Manifest.Chunks {
		b, err := s.ChunkBytes(i, nil)
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, b)
	}
	return s.Manifest.Append(nil), chunks
}

func receive(t testing.TB, d *Dir, manifest []byte) *Incoming {
	t.Helper()
	in, err := d.Receive(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestReceive: chunks in any order, over several runs; what is wrong is refused and
// leaves no trace; until all is there nothing can be opened.
func TestReceive(t *testing.T) {
	manifest, chunks := sent(t)
	d := memDir()
	in := receive(t, d, manifest)
	if got := in.Missing(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Fatalf("missing at first: %d", got)
	}
	for name, c := range map[string]struct {
		i    int
		file []byte
		want error
	}{
		"another chunk":  {1, chunks[2], ErrFileSize},
		"flipped bit":    {1, flipped(chunks[1]), ErrTransferHash},
		"cut off":        {1, chunks[1][:9], ErrFileSize},
		"not there":      {3, chunks[0], ErrTooLarge},
		"below":          {-1, chunks[0], ErrTooLarge},
		"nothing at all": {0, nil, ErrFileSize},
	} {
		var bad *DamageError
		if err := in.Put(c.i, c.file); !errors.Is(err, c.want) || !errors.As(err, &bad) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for range 2 { // twice is no harm
		if err := in.Put(2, chunks[2]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := in.Commit(); !errors.Is(err, ErrMissing) {
		t.Errorf("committed too early: %v", err)
	}
	if _, err := d.Receive(manifest); !errors.Is(err, ErrLocked) {
		t.Errorf("two at once: %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := d.List(); err != nil || len(list) > 0 {
		t.Fatalf("%d snapshots before all is there, %v", len(list), err)
	}
	list, err := d.Unfinished()
	if err != nil || len(list) != 1 || list[0].Identity() != honest().Manifest.Identity() {
		t.Fatalf("unfinished: %v, %v", list, err)
	}

	// The next run finds chunk 2; one that rotted meanwhile does not count.
	in = receive(t, d, manifest)
	if got := in.Missing(); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("missing in the second run: %d", got)
	}
	if err := in.Put(0, chunks[0]); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, d, filepath.Base(in.path), ChunkFile(0))
	in = receive(t, d, manifest)
	if got := in.Missing(); !slices.Equal(got, []int{0, 1}) {
		t.Fatalf("missing in the third run: %d", got)
	}
	for _, i := range in.Missing() {
		if err := in.Put(i, chunks[i]); err != nil {
			t.Fatal(err)
		}
	}
	s, err := in.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Discard(); err != nil { // does nothing any more
		t.Fatal(err)
	}
	if err := s.Verify(); err != nil {
		t.Fatal(err)
	}
	if again, err := d.Find(honest().Manifest.Identity()); err != nil || again.Path != s.Path {
		t.Errorf("%v, %v", again, err)
	}
	if list, err := d.Unfinished(); err != nil || len(list) > 0 {
		t.Errorf("unfinished after all: %d, %v", len(list), err)
	}
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// TestReceiveAnother: a manifest that differs starts over, a damaged one is
// refused, and what others left is cleared away.
func TestReceiveAnother(t *testing.T) {
	manifest, chunks := sent(t)
	d := memDir()
	in := receive(t, d, manifest)
	if err := in.Put(1, chunks[1]); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Receive(flipped(manifest)); !errors.Is(err, ErrManifestHash) {
		t.Errorf("a damaged manifest: %v", err)
	}
	// The same content as another node compressed it.
	other := forge(t)
	other.m.Chunks[0].Compressed--
	in = receive(t, d, other.m.Append(nil))
	if got := in.Missing(); len(got) != 3 {
		t.Errorf("another manifest of the same identity goes on with %d missing", got)
	}
	if err := in.Discard(); err != nil {
		t.Fatal(err)
	}
	in = receive(t, d, manifest)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	tree := randomTree(1, 10, 10)
	create(t, d, metaOf(tree, 9), ascend(tree))
	if list, err := d.Unfinished(); err != nil || len(list) > 0 {
		t.Errorf("unfinished beside a node that takes its own: %d, %v", len(list), err)
	}
}

// TestReceiveInterrupted ends the process at every change to the disk, or fails it,
// with the power lost or not: nothing half can be opened, and the next run ends
// with the whole snapshot.
func TestReceiveInterrupted(t *testing.T) {
	tree := zeros()
	manifest, chunks := sentOf(t, create(t, memDir(), metaOf(tree, 7), ascend(tree)))
	run := func(d *Dir) error {
		in, err := d.Receive(manifest)
		if err != nil {
			return err
		}
		for _, i := range in.Missing() {
			if err := in.Put(i, chunks[i]); err != nil {
				return errors.Join(err, in.Close())
			}
		}
		if _, err = in.Commit(); err != nil {
			return errors.Join(err, in.Close())
		}
		return nil
	}
	disk := faultfs.New()
	if err := run(&Dir{Path: "/data/snapshots", FS: disk}); err != nil {
		t.Fatal(err)
	}
	for op := 1; op <= disk.Ops(); op++ {
		for _, fault := range []faultfs.Fault{faultfs.Fail, faultfs.FailPersisted, faultfs.Crash, faultfs.CrashShort} {
			for _, loss := range []faultfs.Loss{faultfs.LoseAll, faultfs.KeepAll, faultfs.Torn(uint64(op))} {
				disk := faultfs.New()
				d := &Dir{Path: "/data/snapshots", FS: disk}
				disk.FailAt(op, fault)
				err := run(d)
				disk.PowerLoss(loss)
				if whole := checkWhole(t, d); t.Failed() || err == nil && whole != 1 {
					t.Fatalf("change %d, %s: %d whole, first run said %v\n%s", op, fault, whole, err, strings.Join(disk.Trace(), "\n"))
				}
				if err := run(d); err != nil {
					t.Fatalf("change %d, %s: second run: %v\n%s", op, fault, err, strings.Join(disk.Trace(), "\n"))
				}
				if whole := checkWhole(t, d); whole != 1 {
					t.Fatalf("change %d, %s: %d whole snapshots in the end", op, fault, whole)
				}
			}
		}
	}
}

// TestReceiveDiskFull: the error is the disk's and not the sender's, and what was
// there before is there afterwards.
func TestReceiveDiskFull(t *testing.T) {
	manifest, chunks := sent(t)
	disk := faultfs.New()
	d := &Dir{Path: "/data/snapshots", FS: disk}
	in := receive(t, d, manifest)
	if err := in.Put(0, chunks[0]); err != nil {
		t.Fatal(err)
	}
	disk.FailAt(2, faultfs.Short)
	err := in.Put(1, chunks[1])
	var bad *DamageError
	if !errors.Is(err, faultfs.ErrInjected) || errors.As(err, &bad) {
		t.Fatalf("%v, want %v and no blame", err, faultfs.ErrInjected)
	}
	if got := in.Missing(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("missing after the disk was full: %d", got)
	}
	if err := in.Put(1, chunks[1]); err != nil {
		t.Error(err)
	}
}
