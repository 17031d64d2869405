package store

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// dump writes files as text: a line for the name and size, then lines of 32 bytes,
// those that are all zero left out.
func dump(disk *faultfs.FS) string {
	var out strings.Builder
	for _, file := range disk.Files(testDir) {
		b := disk.ReadFile(file)
		fmt.Fprintf(&out, "file %s %d\n", strings.TrimPrefix(file, testDir+"/"), len(b))
		for at := 0; at < len(b); at += 32 {
			if line := b[at:min(at+32, len(b))]; firstNonZero(line) >= 0 {
				fmt.Fprintf(&out, "%08x %x\n", at, line)
			}
		}
	}
	return out.String()
}

// undump is the reverse.
func undump(t *testing.T, text string) *faultfs.FS {
	disk := faultfs.New()
	var name string
	var b []byte
	for _, line := range strings.Split(text+"file", "\n") {
		f := strings.Fields(line)
		if f[0] != "file" {
			at, err := strconv.ParseInt(f[0], 16, 64)
			must(t, err)
			raw, err := hex.DecodeString(f[1])
			must(t, err)
			copy(b[at:], raw)
			continue
		}
		if name != "" {
			disk.WriteFile(path.Join(testDir, name), b)
		}
		if len(f) == 3 {
			size, err := strconv.Atoi(f[2])
			must(t, err)
			name, b = f[1], make([]byte, size)
		}
	}
	return disk
}

// compareGolden compares text with a golden file, or rewrites that.
func compareGolden(t *testing.T, name, got string) string {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s differs from what is written now; if the format has a new version, add a file for it and keep this one readable", file)
	}
	return string(want)
}

// goldenDirectory is the directory as it is written, by the versions of its block log
// and its journal.
const goldenDirectory = "directory-v1-log-v2-journal-v2.txt"

// TestGoldenDirectory pins what is written, and that it is read, and so is what
// earlier versions wrote.
func TestGoldenDirectory(t *testing.T) {
	disk, c := directory(t)
	compareGolden(t, goldenDirectory, dump(disk))
	for _, name := range []string{"directory-v1.txt", "directory-v1-log-v2.txt", goldenDirectory} {
		t.Run(name, func(t *testing.T) {
			c := c
			if name == "directory-v1.txt" {
				c = c.withoutSigners()
			}
			disk := golden(t, name)
			must(t, inspect(disk))
			s := mustOpen(t, testDir, small(disk))
			must(t, c.holds(s, 1, 4))
			_, blocks, err := s.OpenJournal()
			must(t, err)
			if len(blocks) != 1 || blocks[0].Height != 5 || len(blocks[0].Txs) != 3 || string(blocks[0].Txs[2]) != "last" {
				t.Errorf("journal has %d blocks", len(blocks))
			}
		})
	}
}

func golden(t *testing.T, name string) *faultfs.FS {
	text, err := os.ReadFile(filepath.Join("testdata", name))
	must(t, err)
	return undump(t, string(text))
}

// TestOldLogGoesOn: what is appended to a log of version 1 goes to a new segment,
// and both are read.
func TestOldLogGoesOn(t *testing.T) {
	old := newTestChain(4, 2)
	all := old.withoutSigners().extend(3, "main")
	disk := golden(t, "directory-v1.txt")
	for _, o := range []Options{small(disk), small(disk)} { // and opened once more
		s := mustOpen(t, testDir, o)
		if s.Height() == 4 {
			must(t, s.AppendBatch(all.records[4:]))
		}
		must(t, all.holds(s, 1, 7))
		must(t, s.Close())
	}
	if header := disk.ReadFile(path.Join(testDir, segName(5))); le.Uint16(header[8:]) != LogVersion {
		t.Errorf("segment of block 5 has version %d", le.Uint16(header[8:]))
	}
	must(t, inspect(disk))
}

// TestOldJournalGoesOn: what is journaled after a segment of version 1 goes to a new
// segment, and both are read.
func TestOldJournalGoesOn(t *testing.T) {
	disk := golden(t, "directory-v1-log-v2.txt")
	for opened := range 3 {
		s := mustOpen(t, testDir, small(disk))
		j, blocks, err := s.OpenJournal()
		must(t, err)
		if len(blocks) != 1 || len(blocks[0].Txs) != 3+opened {
			t.Fatalf("opened %d times before: %d blocks", opened, len(blocks))
		}
		must(t, j.Append([]JournalRecord{{Tx: []byte("one more")}}))
		must(t, s.Close())
	}
	segments := journalFiles(disk)
	if len(segments) != 3 { // and the spare
		t.Fatalf("journal has %v", segments)
	}
	for i, name := range segments[:2] {
		if h, ok := decodeJournalHeader(disk.ReadFile(path.Join(testDir, journalDir, name))); !ok || h.version != i+1 {
			t.Errorf("%s has version %d", name, h.version)
		}
	}
	must(t, inspect(disk))
}

// TestGoldenMeta pins the values in meta.db.
func TestGoldenMeta(t *testing.T) {
	dir := t.TempDir()
	s := mustInit(t, dir, newTestChain(0, 0), Options{})
	fork := followtest.NewFork("golden", 3)
	tips, err := s.Meta().Tips(fork.ID(0).Hash)
	must(t, err)
	must(t, tips.Apply(follow.BlocksAdded{Blocks: fork.Blocks(1, 3)}))
	must(t, tips.Apply(follow.ChainCheckpointed{Tip: fork.TipID(2)}))
	var out bytes.Buffer
	must(t, s.meta.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				_, err := fmt.Fprintf(&out, "%s %q %x\n", name, k, v)
				return err
			})
		})
	}))
	compareGolden(t, "meta-v1.txt", out.String())
}
