package store

import (
	"bytes"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest/faultfs"
)

// The formats have checksums everywhere, which a fuzzer would never guess: each
// target can repair them in its input first, so that what is behind them is
// reached too.

// FuzzLog opens a block log of arbitrary bytes under a head mark that fits and one
// that does not. Whatever is there, opening ends, and what opened can be read.
func FuzzLog(f *testing.F) {
	c := newTestChain(3, 2)
	whole := encodeSegmentHeader(1, c.genesis.Hash())
	for _, r := range c.records {
		whole = appendRecord(whole, r)
	}
	f.Add(whole, uint64(3), uint64(len(whole)), true, false)
	f.Add(whole, uint64(1), uint64(500), false, true)
	f.Add(whole[:len(whole)-5], uint64(2), uint64(1000), false, true)
	f.Add(whole[:segmentHeaderBytes+10], uint64(0), uint64(0), false, false)
	f.Add([]byte{}, uint64(1), uint64(0), false, false)
	f.Fuzz(func(t *testing.T, b []byte, height, end uint64, readOnly, repair bool) {
		if repair {
			repairLog(b)
		}
		disk := faultfs.New()
		o := small(disk)
		must(t, Init(testDir, c.genesis, o))
		m := mark{seq: 1, base: 1}
		if height > 0 && height <= 3 {
			m.height, m.hash, m.segment, m.end = height, c.at(height).Block.Header.Hash(), 1, end
		}
		head := disk.ReadFile(testDir + "/HEAD")
		copy(head[markSlot:], m.encode())
		disk.WriteFile(testDir+"/HEAD", head)
		disk.WriteFile(testDir+"/"+segName(1), b)
		o.ReadOnly = readOnly
		s, err := Open(testDir, o)
		if err != nil {
			return
		}
		defer s.Close()
		if s.Height() < m.height {
			t.Fatalf("head is %d under a mark of %d", s.Height(), m.height)
		}
		for h := uint64(1); h <= s.Height(); h++ {
			s.Block(h)
			if _, err := s.Header(h); err != nil {
				t.Fatalf("opened with a header that cannot be read: %v", err)
			}
		}
		s.Check(nil)
	})
}

// repairLog goes from frame to frame as the lengths say.
func repairLog(b []byte) {
	if len(b) < segmentHeaderBytes {
		return
	}
	sealCRC(b[:segmentHeaderBytes])
	for rest := b[segmentHeaderBytes:]; len(rest) >= frameBytes; {
		block, results := uint64(le.Uint32(rest[12:])), uint64(le.Uint32(rest[16:]))
		if block < chain.HeaderBytes || frameBytes+block+results > uint64(len(rest)) {
			return
		}
		body := rest[frameBytes : frameBytes+block+results]
		le.PutUint32(rest, frameMagic)
		le.PutUint32(rest[20:], checksum(body[:chain.HeaderBytes]))
		le.PutUint32(rest[24:], checksum(body[:block]))
		le.PutUint32(rest[28:], checksum(body[block:]))
		sealCRC(rest[:frameBytes])
		rest = rest[frameBytes+block+results:]
	}
}

// FuzzJournal recovers a journal segment of arbitrary bytes; what it accepts, it
// accepts again after the tail was put in order.
func FuzzJournal(f *testing.F) {
	whole := journalSegmentBytes(8<<10, false, 0, 0, 0)
	f.Add(whole, uint64(0), true)
	f.Add(whole[:4<<10], uint64(1), true)
	torn := bytes.Clone(whole)
	clear(torn[6*sectorBytes : 7*sectorBytes])
	f.Add(torn, uint64(0), false)
	f.Add([]byte(journalMagics[1]), uint64(0), false)
	f.Add([]byte(journalMagics[0]), uint64(0), true)
	f.Add(journalSegmentBytes(8<<10, true, 0, 1, 2), uint64(0), true)
	f.Fuzz(func(t *testing.T, b []byte, head uint64, repair bool) {
		if head > MaxHeight {
			return
		}
		if repair {
			repairJournal(b)
		}
		scan := &journalScan{head: head}
		at, err := scan.segment(b, "j", 1)
		if err != nil {
			return
		}
		if at.last > at.end || at.end > at.dirty || at.dirty > len(b) || at.end%sectorBytes != 0 {
			t.Fatalf("ends are %+v of %d", at, len(b))
		}
		clear(b[at.end:at.dirty])
		again := &journalScan{head: head}
		end, err := again.segment(b, "j", 1)
		if err != nil || end.end != at.end || end.dirty != at.end || len(again.blocks) != len(scan.blocks) {
			t.Fatalf("%+v, and after its tail was cleared %+v, %v", at, end, err)
		}
	})
}

// repairJournal makes every sector one that follows the sector before it.
func repairJournal(b []byte) {
	var prev uint32
	for at := 0; at+sectorBytes <= len(b); at += sectorBytes {
		s := b[at : at+sectorBytes]
		if at == 0 {
			copy(s, journalMagics[s[7]%JournalVersion])
			le.PutUint64(s[8:], 1)
			le.PutUint64(s[16:], uint64(len(b)))
			clear(s[24:56])
		} else if firstNonZero(s) >= 0 {
			le.PutUint16(s, sectorMagic)
			le.PutUint32(s[4:], prev)
		} else {
			continue
		}
		prev = le.Uint32(sealCRC(s)[sectorBytes-4:])
	}
}

// FuzzRun looks ids up in an index run of arbitrary bytes.
func FuzzRun(f *testing.F) {
	disk := faultfs.New()
	must(f, disk.MkdirAll("/"))
	file, err := disk.Create("/run")
	must(f, err)
	w := newRunWriter(file, runHeader{first: 1, last: 9, entries: 300})
	for i := range uint64(300) {
		must(f, w.add(entry{i << 50, 1<<24 | i}))
	}
	must(f, w.finish())
	f.Add(disk.ReadFile("/run"), uint64(7<<50), true)
	f.Add([]byte(runMagic), uint64(0), false)
	f.Fuzz(func(t *testing.T, b []byte, prefix uint64, repair bool) {
		if repair {
			for at := 0; at+pageBytes <= len(b); at += pageBytes {
				sealCRC(b[at : at+pageBytes])
			}
		}
		h, ok := decodeRunHeader(b)
		if !ok || h.bytes() != int64(len(b)) {
			return
		}
		r := bytes.NewReader(b)
		if may, err := mayHold(r, &h, prefix); err != nil || !may {
			return
		}
		found, err := search(r, &h, prefix)
		for _, e := range found {
			if e.prefix != prefix {
				t.Fatalf("looked for %x, found %x, %v", prefix, e.prefix, err)
			}
		}
	})
}

// FuzzMark decodes arbitrary bytes as a HEAD file.
func FuzzMark(f *testing.F) {
	f.Add(encodeMarks(chain.BlockID{}), false)
	m := mark{seq: 4, base: 3, height: 9, hash: chain.Hash{1}, segment: 5, end: 100, cut: true}
	f.Add(append(m.encode(), make([]byte, markFileBytes-markBytes)...), true)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		for at := 0; repair && at+markBytes <= len(b); at += markSlot {
			sealCRC(b[at : at+markBytes])
		}
		s, err := decodeMarks(b)
		if err != nil {
			return
		}
		if got, ok := decodeMark(s.last.encode()); !ok || got != s.last {
			t.Fatalf("%+v came back as %+v", s.last, got)
		}
	})
}
