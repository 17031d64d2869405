package store

import (
	"bytes"
	"errors"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// directory makes a small directory with everything in it: a closed segment with
// its sidecar, an open one, runs, a journal with an open block, evidence.
func directory(t *testing.T) (*faultfs.FS, *testChain) {
	t.Helper()
	c := newTestChain(4, 2)
	disk := faultfs.New()
	o := small(disk)
	g := newGate(disk)
	o.FS, o.SegmentBytes = g, 1500
	s := mustInit(t, testDir, c, o)
	for _, r := range c.records {
		must(t, s.Append(r))
	}
	j, _, err := s.OpenJournal()
	must(t, err)
	must(t, j.Append([]JournalRecord{openOf(5)}))
	groups, err := g.overlap(j, []JournalRecord{txOf(5, 0), {Tx: make([]byte, 2000)}}, []JournalRecord{{Tx: []byte("last")}}, false)
	must(t, err)
	must(t, groups[1].wait())
	_, err = s.WriteEvidence("block-9.json", []byte("{}"))
	must(t, err)
	must(t, s.Close())
	return disk, c
}

// heightAt is the block that a byte of a segment belongs to.
func heightAt(b []byte, first uint64, at int64) uint64 {
	offsets, _ := walk(bytes.NewReader(b), "", first, int64(len(b)))
	height := first
	for i, o := range offsets {
		if at >= int64(o) {
			height = first + uint64(i)
		}
	}
	return height
}

// inspect opens and checks a directory as `kaizen verify` does.
func inspect(disk *faultfs.FS) error {
	o := small(disk)
	o.ReadOnly = true
	s, err := Open(testDir, o)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Check(nil)
}

// TestEveryFlippedBit damages bits of every file, of the large ones not each: every
// one must be found, and named with its file and, in the block log, its block. The
// tests after it go through the three formats bit by bit.
func TestEveryFlippedBit(t *testing.T) {
	disk, c := directory(t)
	must(t, inspect(disk))
	for _, file := range disk.Files(testDir) {
		name := strings.TrimPrefix(file, testDir+"/")
		if name == path.Join(journalDir, spareName) {
			continue // TestSpareIsWrittenAnew
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := disk.Clone()
			b := disk.ReadFile(file)
			every := 1
			if len(b) > 1<<10 {
				every = 41
			}
			if len(b) > 32<<10 {
				every = 1009
			}
			first, isLog := parseNumbered(path.Base(name), ".log")
			for i := 0; i < 8*len(b); i += every {
				at, bit := int64(i/8), i%8
				disk.FlipBit(file, at, bit)
				err := inspect(disk)
				disk.FlipBit(file, at, bit)
				if err == nil {
					t.Fatalf("byte %d bit %d: not found", at, bit)
				}
				found, ok := isCorrupt(err)
				if !ok {
					if name == versionFile && errors.Is(err, ErrVersion) {
						continue // another digit
					}
					t.Fatalf("byte %d bit %d: %v", at, bit, err)
				}
				if found.File != strings.TrimSuffix(name, sumSuffix) {
					t.Fatalf("byte %d bit %d: found as %v", at, bit, err)
				}
				if want := heightAt(b, first, at); isLog && found.Height != want {
					t.Fatalf("byte %d bit %d of block %d: found as %v", at, bit, want, err)
				}
			}
		})
	}
	t.Run("writer", func(t *testing.T) { t.Parallel(); flipsUnderWriter(t, disk.Clone(), c) })
}

// flipsUnderWriter opens damaged directories to write. That may work only with
// everything acknowledged still there.
func flipsUnderWriter(t *testing.T, healthy *faultfs.FS, c *testChain) {
	for _, file := range healthy.Files(testDir) {
		size := int64(len(healthy.ReadFile(file)))
		for at := int64(0); at < size; at += 1 + size/60 {
			disk := healthy.Clone()
			disk.FlipBit(file, at, int(at%8))
			s, err := Open(testDir, small(disk))
			if err != nil {
				continue
			}
			if err := c.holds(s, 1, 4); err != nil {
				if _, ok := isCorrupt(err); !ok && !errors.Is(err, ErrIndexIncomplete) {
					t.Fatalf("%s byte %d: opened without complaint: %v", file, at, err)
				}
			}
			_, blocks, err := s.OpenJournal()
			if err == nil && (len(blocks) != 1 || len(blocks[0].Txs) != 3) {
				t.Fatalf("%s byte %d: journal opened without complaint with %d blocks", file, at, len(blocks))
			}
			s.Close()
		}
	}
}

// TestEveryFlippedBitOfASegment goes through a block log segment bit by bit.
func TestEveryFlippedBitOfASegment(t *testing.T) {
	c := newTestChain(3, 2)
	b := encodeSegmentHeader(1, c.genesis.Hash())
	for _, r := range c.records {
		b = appendRecord(b, r)
	}
	check := func() error {
		if _, err := checkSegmentHeader(b, "s", 1, c.genesis.Hash()); err != nil {
			return err
		}
		return scan(bytes.NewReader(b), "s", segmentHeaderBytes, int64(len(b)), 1, func(*scanned) error { return nil })
	}
	must(t, check())
	for i := range 8 * len(b) {
		want := heightAt(b, 1, int64(i/8))
		b[i/8] ^= 1 << (i % 8)
		if found, ok := isCorrupt(check()); !ok || found.Height != want {
			t.Fatalf("byte %d bit %d of block %d: found as %v", i/8, i%8, want, found)
		}
		b[i/8] ^= 1 << (i % 8)
	}
}

// TestSpareIsWrittenAnew shows why damage to the spare file is harmless.
func TestSpareIsWrittenAnew(t *testing.T) {
	disk, _ := directory(t)
	file := path.Join(testDir, journalDir, spareName)
	disk.FlipBit(file, 5000, 3)
	must(t, inspect(disk))
	s := mustOpen(t, testDir, small(disk))
	_, _, err := s.OpenJournal()
	must(t, err)
	if i := firstNonZero(disk.ReadFile(file)); i >= 0 {
		t.Fatalf("byte %d is not zero", i)
	}
}

// TestEveryFlippedBitOfAJournal goes through journal segments bit by bit.
func TestEveryFlippedBitOfAJournal(t *testing.T) {
	for _, used := range []bool{false, true} {
		b := journalSegmentBytes(8<<10, used, 0, 0, 1)
		healthy := &journalScan{}
		_, err := healthy.segment(b, "j", 1)
		must(t, err)
		for i := range 8 * len(b) {
			b[i/8] ^= 1 << (i % 8)
			scan := &journalScan{}
			_, err := scan.segment(b, "j", 1)
			if _, ok := isCorrupt(err); !ok && !errors.Is(err, ErrGenesis) {
				t.Fatalf("used before: %v, byte %d bit %d: %v", used, i/8, i%8, err)
			}
			b[i/8] ^= 1 << (i % 8)
		}
	}
}

// journalSegmentBytes is a segment with three groups, one of many sectors; pending is
// what each of them says of those before it, and it may have been used before.
func journalSegmentBytes(size int, used bool, pending ...int) []byte {
	h := journalHeader{seq: 1, size: uint64(size), group: 101}
	b := h.encode()
	prev := le.Uint32(b[sectorBytes-4:])
	for i, records := range [][]JournalRecord{{openOf(1)}, {{Tx: make([]byte, 1500)}, {Tx: []byte("a")}}, {{Tx: []byte("b")}, openOf(2)}} {
		var payload []byte
		for k := range records {
			payload = records[k].append(payload)
		}
		b, prev = appendGroup(b, payload, prev, h.group+uint64(i), pending[i])
	}
	for group := h.group - 9; used && group < h.group; group++ {
		b, prev = appendGroup(b, []byte("of an older segment"), prev, group, int(group%2))
	}
	return append(b, make([]byte, size-len(b))...)
}

// TestTornJournal: a group of which sectors are missing is torn, unless a group after
// it, of which anything is there, proves it: then it is damage.
func TestTornJournal(t *testing.T) {
	group := []int{0, 1, 1, 1, 1, 2} // of each sector after the header
	for _, pending := range [][]int{{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {0, 1, 1}, {0, 1, 2}} {
		for _, used := range []bool{false, true} {
			whole := journalSegmentBytes(8<<10, used, pending...)
			for gone := range 1 << len(group) {
				b, torn, proven := bytes.Clone(whole), 3, false
				for i, g := range group {
					at := (1 + i) * sectorBytes
					switch {
					case gone&(1<<i) != 0:
						copy(b[at:at+sectorBytes], whole[7*sectorBytes:]) // which is empty
						torn = min(torn, g)
					default:
						proven = proven || torn < g-pending[g]
					}
				}
				want := (1 + slices.Index(append(group, 3), torn)) * sectorBytes
				scan := &journalScan{}
				seg, err := scan.segment(b, "j", 1)
				if _, ok := isCorrupt(err); ok != proven || err == nil && seg.end != want {
					t.Fatalf("pending %v, used before: %v, sectors %06b are gone: end %d, want %d, %v, want damage: %v", pending, used, gone, seg.end, want, err, proven)
				}
			}
		}
	}
}

// TestPendingIsBounded: a group cannot have been under way with more groups than there
// are before it in its segment, which begins when all are durable.
func TestPendingIsBounded(t *testing.T) {
	b := journalSegmentBytes(8<<10, false, 0, 2, 0)
	_, err := (&journalScan{}).segment(b, "j", 1)
	if _, ok := isCorrupt(err); !ok {
		t.Errorf("a group beside two groups, of which there is one: %v", err)
	}
}

// TestLogEndsBeforeHead: cutting the log off anywhere is damage, never a torn end.
func TestLogEndsBeforeHead(t *testing.T) {
	disk, _ := directory(t)
	logs := []string{}
	for _, f := range disk.Files(testDir + "/blocks") {
		if strings.HasSuffix(f, ".log") {
			logs = append(logs, f)
		}
	}
	for _, file := range logs {
		b := disk.ReadFile(file)
		for _, size := range []int{0, 10, segmentHeaderBytes, segmentHeaderBytes + 20, len(b) / 2, len(b) - 1} {
			for _, readOnly := range []bool{true, false} {
				d := disk.Clone()
				d.WriteFile(file, b[:size])
				o := small(d)
				o.ReadOnly = readOnly
				if _, err := Open(testDir, o); !strings.Contains(errText(err), path.Base(file)) {
					t.Errorf("%s cut to %d of %d: %v", file, size, len(b), err)
				}
			}
		}
		d := disk.Clone()
		must(t, d.Remove(file))
		if _, err := Open(testDir, small(d)); !strings.Contains(errText(err), path.Base(file)) {
			t.Errorf("%s removed: %v", file, err)
		}
	}
}

func errText(err error) string {
	if _, ok := isCorrupt(err); !ok {
		return ""
	}
	return err.Error()
}

// TestDamagedMark: with one head mark damaged the log decides, and when that has a
// torn end too, nobody can.
func TestDamagedMark(t *testing.T) {
	c := newTestChain(6, 3)
	healthy := faultfs.New()
	s := mustInit(t, testDir, c, small(healthy))
	for _, r := range c.records {
		must(t, s.Append(r))
	}
	newest := s.log.marks.last.seq % 2
	must(t, s.Close())
	last := s.log.segs[len(s.log.segs)-1].name()
	for slot := range uint64(2) {
		disk := healthy.Clone()
		disk.FlipBit(testDir+"/HEAD", int64(slot*markSlot)+40, 1)
		s := mustOpen(t, testDir, small(disk))
		must(t, c.holds(s, 1, 6))
		must(t, s.Close())
		must(t, inspect(disk))
	}
	disk := healthy.Clone()
	disk.FlipBit(testDir+"/HEAD", int64(newest*markSlot)+40, 1)
	b := disk.ReadFile(testDir + "/" + last)
	disk.WriteFile(testDir+"/"+last, b[:len(b)-3])
	if _, err := Open(testDir, small(disk)); err == nil {
		t.Error("a lost mark and a torn log were opened")
	} else if _, ok := isCorrupt(err); !ok {
		t.Errorf("a lost mark and a torn log: %v", err)
	}
}

// TestDamagedSidecar: offsets that lead nowhere are found in the segment itself.
func TestDamagedSidecar(t *testing.T) {
	c := newTestChain(12, 3)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	must(t, s.AppendBatch(c.records))
	must(t, s.Close())
	for _, file := range disk.Files(testDir + "/blocks") {
		if !strings.HasSuffix(file, ".idx") {
			continue
		}
		for at := range len(disk.ReadFile(file)) {
			d := disk.Clone()
			d.FlipBit(file, int64(at), at%8)
			must(t, c.holds(mustOpen(t, testDir, small(d)), 1, 12))
		}
		d := disk.Clone()
		must(t, d.Remove(file))
		s := mustOpen(t, testDir, small(d))
		must(t, c.holds(s, 1, 12))
		if string(d.ReadFile(file)) != string(disk.ReadFile(file)) {
			t.Errorf("%s was not made again as it was", file)
		}
	}
}

// TestDamagedRun: lookups never answer wrongly for a damaged index, and Maintain
// builds it again.
func TestDamagedRun(t *testing.T) {
	c := newTestChain(30, 4)
	healthy := faultfs.New()
	s := mustInit(t, testDir, c, small(healthy))
	for _, r := range c.records {
		must(t, s.Append(r))
		must(t, s.Maintain(nil))
	}
	must(t, s.Close())
	runs := healthy.Files(testDir + "/index")
	if len(runs) < 3 {
		t.Fatalf("only %d runs", len(runs))
	}
	for _, file := range runs {
		size := len(healthy.ReadFile(file))
		for at := 0; at < size; at += 97 {
			disk := healthy.Clone()
			disk.FlipBit(file, int64(at), at%8)
			s := mustOpen(t, testDir, small(disk))
			for h := uint64(1); h <= 30; h++ {
				if err := c.holdsBlock(s, h); err != nil && !errors.Is(err, ErrIndexIncomplete) {
					t.Fatalf("%s byte %d: block %d: %v", file, at, h, err)
				}
			}
			for range 10 {
				s.Maintain(nil) // finds the damage where the lookups did not
			}
			must(t, c.holds(s, 1, 30))
			must(t, s.Close())
		}
	}
	for _, gone := range [][]string{runs, runs[:1], runs[1:2], runs[len(runs)-1:]} {
		disk := healthy.Clone()
		for _, file := range gone {
			must(t, disk.Remove(file))
		}
		s := mustOpen(t, testDir, small(disk))
		if len(gone) == len(runs) {
			if _, err := s.HeightByHash(c.at(1).Block.Header.Hash()); !errors.Is(err, ErrIndexIncomplete) {
				t.Errorf("lookup in a lost index: %v", err)
			}
		}
		for range 10 {
			must(t, s.Maintain(nil))
		}
		must(t, c.holds(s, 1, 30))
		must(t, s.Check(nil))
	}
}

// TestEveryFlippedBitOfARun goes through one index run bit by bit.
func TestEveryFlippedBitOfARun(t *testing.T) {
	disk := faultfs.New()
	must(t, disk.MkdirAll("/"))
	f, err := disk.Create("/run")
	must(t, err)
	h := runHeader{first: 1, last: 9, entries: 100}
	w := newRunWriter(f, h)
	for i := range h.entries {
		must(t, w.add(entry{i * i, (1+i%9)<<24 | i}))
	}
	must(t, w.finish())
	must(t, verifyRun(f, &h))
	b := disk.ReadFile("/run")
	for i := range 8 * len(b) {
		disk.FlipBit("/run", int64(i/8), i%8)
		head := make([]byte, pageBytes)
		_, err := f.ReadAt(head, 0)
		must(t, err)
		got, ok := decodeRunHeader(head)
		if ok && got == h {
			if _, damaged := isCorrupt(verifyRun(f, &h)); !damaged {
				t.Fatalf("byte %d bit %d: not found", i/8, i%8)
			}
		}
		disk.FlipBit("/run", int64(i/8), i%8)
	}
}

// TestReadErrors: an I/O error while reading is passed on, as what it is.
func TestReadErrors(t *testing.T) {
	c := newTestChain(12, 3)
	disk := faultfs.New()
	s := mustInit(t, testDir, c, small(disk))
	must(t, s.AppendBatch(c.records))
	disk.FailReads(func(string) error { return faultfs.ErrInjected })
	for h := range uint64(12) {
		if _, err := s.Block(h + 1); !errors.Is(err, faultfs.ErrInjected) {
			t.Errorf("block %d: %v", h+1, err)
		}
	}
	if err := s.Check(nil); !errors.Is(err, faultfs.ErrInjected) {
		t.Errorf("check: %v", err)
	}
	disk.FailReads(nil)
	must(t, c.holds(s, 1, 12))
}

// TestDamagedSigners: what is stored of signers is local and can be found out again, so
// damage to it is no reason not to read the block; a check finds it all the same.
func TestDamagedSigners(t *testing.T) {
	c := newTestChain(3, 3)
	for name, damage := range map[string]func(after []byte){
		"a bit":                func(after []byte) { after[4] ^= 1 },
		"a length of too much": func(after []byte) { le.PutUint32(after, MaxSignersBytes+1) },
		"a length beyond":      func(after []byte) { le.PutUint32(after, uint32(len(after))) },
	} {
		disk, logged := faultfs.New(), 0
		s := mustInit(t, testDir, c, Options{FS: disk, Log: func(string, ...any) { logged++ }})
		must(t, s.AppendBatch(c.records))
		file := testDir + "/" + segName(1)
		raw := disk.ReadFile(file)
		at := s.log.segs[0].offsets[1]
		fr, _ := decodeFrame(raw[at:])
		after := raw[at+frameBytes+fr.blockBytes : int64(at)+fr.bytes()]
		damage(after)
		if name != "a bit" { // the checksum does not help
			fr.resultsCRC = checksum(after)
			fr.append(raw[at:at])
		}
		f, err := disk.OpenWrite(file)
		must(t, err)
		_, err = f.WriteAt(raw, 0)
		must(t, err)
		block, signers, err := s.SignedBlock(2)
		if err != nil || signers != nil || !reflect.DeepEqual(block, c.at(2).Block) || logged != 1 {
			t.Errorf("%s: signers %x, %v, %d log lines", name, signers, err, logged)
		}
		if _, err := s.Results(2); err == nil {
			t.Errorf("%s: results are read", name)
		}
		if s.Check(nil) == nil {
			t.Errorf("%s: a check finds nothing", name)
		}
	}
}
