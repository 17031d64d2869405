package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// MaxFindings bounds the errors that [Store.Check] reports; after that many the
// rest of the directory is not worth reading.
const MaxFindings = 100

// CheckProgress is how far [Store.Check] is: blocks up to Height of Head.
type CheckProgress struct {
	Height, Head uint64
}

// checkReport is after how many blocks progress is reported.
const checkReport = 1000

var errEnough = errors.New("too many findings")

// Check reads every byte of the directory and compares it with its checksum, with
// the bytes it was derived from, with the header that commits to it, and headers
// with their parents and signatures. It returns nil or the damage, each a
// *[CorruptionError], joined. Executing the blocks is not its job. progress, if
// not nil, is called now and then.
//
// It is meant for a store opened read-only. Beside a running node it checks the
// blocks that were durable when the store was opened.
func (s *Store) Check(progress func(CheckProgress)) error {
	if progress == nil {
		progress = func(CheckProgress) {}
	}
	var found []error
	report := func(err error) error {
		if _, damaged := isCorrupt(err); !damaged {
			return err
		}
		if found = append(found, err); len(found) == MaxFindings {
			return errEnough
		}
		return nil
	}
	for _, step := range []func(report func(error) error) error{
		s.checkMarks,
		func(report func(error) error) error { return s.checkBlocks(progress, report) },
		s.checkJournal, s.checkRuns, s.checkMeta, s.checkEvidence,
	} {
		if err := step(report); errors.Is(err, errEnough) {
			break
		} else if err != nil {
			return errors.Join(append(found, err)...)
		}
	}
	return errors.Join(found...)
}

// marksNow reads the HEAD file as it is now.
func (s *Store) marksNow() (*marks, error) {
	f, err := s.opts.FS.Open(s.log.path(markFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMarks(f)
}

func (s *Store) checkMarks(report func(error) error) error {
	now, err := s.marksNow()
	if err != nil {
		return report(err)
	}
	for _, d := range now.damage {
		if err := report(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkBlocks(progress func(CheckProgress), report func(error) error) error {
	s.log.mu.RLock()
	segs := make([]segment, len(s.log.segs))
	for i, seg := range s.log.segs {
		segs[i] = *seg
	}
	m := s.log.marks.last
	s.log.mu.RUnlock()
	c := &blockCheck{s: s, want: m.parent, progress: progress, head: m.height}
	for i := range segs {
		if err := c.segment(&segs[i], i == len(segs)-1, report); err != nil {
			return err
		}
	}
	return nil
}

// blockCheck goes through the log in order.
type blockCheck struct {
	s        *Store
	parent   *chain.Header // nil at the start and after damage
	want     chain.Hash    // parent of the next block where parent is nil; zero if not known
	head     uint64
	progress func(CheckProgress)
}

func (c *blockCheck) segment(seg *segment, last bool, report func(error) error) error {
	f, err := c.s.opts.FS.Open(c.s.log.path(seg.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.s.log.checkHeader(f, seg); err != nil {
		if err := report(err); err != nil {
			return err
		}
	}
	var offsets []uint32
	err = scan(f, seg.name(), segmentHeaderBytes, seg.size, seg.first, func(r *scanned) error {
		offsets = append(offsets, uint32(r.offset))
		return c.block(r, seg.name(), report)
	})
	if err != nil {
		c.parent, c.want = nil, chain.Hash{}
		return report(err)
	}
	if last {
		return nil
	}
	return c.sidecar(&segment{first: seg.first, count: uint64(len(offsets)), size: seg.size, offsets: offsets}, report)
}

// sidecar compares the file with what it is derived from. One that is missing is
// made again at the next opening.
func (c *blockCheck) sidecar(seg *segment, report func(error) error) error {
	want := encodeSidecar(seg)
	got, err := c.s.readFile(seg.sidecar(), len(want)+1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return report(err)
	}
	if !bytes.Equal(got, want) {
		return report(corrupt(seg.sidecar(), int64(firstDifference(got, want)), seg.first, "offsets differ from the segment's"))
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (c *blockCheck) block(r *scanned, name string, report func(error) error) error {
	err := c.contents(r)
	if err == nil {
		err = c.link(&r.header)
	}
	header := r.header
	c.parent = &header
	if header.Height%checkReport == 0 || header.Height == c.head {
		c.progress(CheckProgress{Height: header.Height, Head: c.head})
	}
	if err != nil {
		return report(corrupt(name, r.offset, r.frame.height, "%v", err))
	}
	return nil
}

// contents compares the block and its results with the header's roots.
func (c *blockCheck) contents(r *scanned) error {
	block, err := chain.DecodeBlock(r.body[:r.frame.blockBytes])
	if err != nil {
		return err
	}
	if err := block.Check(c.s.genesis.MaxTxsPerBlock); err != nil {
		return err
	}
	_, after, ok := r.frame.split(r.body[r.frame.blockBytes:])
	if !ok {
		return fmt.Errorf("signers are longer than what is there")
	}
	results, err := chain.DecodeResults(after)
	if err != nil {
		return err
	}
	if got := results.Root(); got != r.header.ReceiptsRoot {
		return fmt.Errorf("receipts root is %s, header says %s", got, r.header.ReceiptsRoot)
	}
	if len(results.Receipts) != len(block.Txs) {
		return fmt.Errorf("%d receipts for %d transactions", len(results.Receipts), len(block.Txs))
	}
	return nil
}

// link compares a header with its parent, or where that is not at hand with
// what is known of it.
func (c *blockCheck) link(h *chain.Header) error {
	g := c.s.genesis
	switch {
	case c.parent != nil:
		return h.Follows(c.parent)
	case c.want != chain.Hash{} && h.Parent != c.want:
		return fmt.Errorf("names parent %s, want %s", h.Parent, c.want)
	case h.ChainID != g.ChainID || h.Sequencer != g.Sequencer:
		return fmt.Errorf("is of chain %d by %x, want chain %d by %x", h.ChainID, h.Sequencer, g.ChainID, g.Sequencer)
	}
	return h.VerifySignature()
}

// journalTries is how often the journal is read before damage is believed: a node
// that runs may write to it, and remove files, while it is read.
const journalTries = 3

func (s *Store) checkJournal(report func(error) error) (err error) {
	for range journalTries {
		if err = s.scanJournalNow(nil); err == nil {
			return nil
		}
	}
	return report(err)
}

func (s *Store) scanJournalNow(visit func(JournalEntry)) error {
	now, err := s.marksNow()
	if err != nil {
		return err
	}
	head := max(now.last.height, s.Height())
	_, err = scanJournal(s.opts.FS, s.dir, &journalScan{genesis: s.hash, head: head, visit: visit}, nil)
	return err
}

// checkRuns reads all runs, those too that opening left out.
func (s *Store) checkRuns(report func(error) error) error {
	names, err := s.opts.FS.ReadDir(s.index.path(indexDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		err := s.checkRun(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // merged by a node that runs
		}
		if err != nil {
			if err := report(err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) checkRun(name string) error {
	h, err := s.index.readRunHeader(name)
	if err != nil || h == nil {
		return err
	}
	f, err := s.opts.FS.Open(s.index.path(path.Join(indexDir, name)))
	if err != nil {
		return err
	}
	defer f.Close()
	return verifyRun(f, h)
}

// verifyRun reads a whole run: every checksum, the order of the entries, and that
// the filter lets every entry pass.
func verifyRun(f vfs.File, h *runHeader) error {
	var buf [pageBytes]byte
	var before entry
	for i := range h.pages() {
		page, err := readPage(f, h, i, buf[:])
		if err != nil {
			return err
		}
		for _, e := range page {
			may, err := mayHold(f, h, e.prefix)
			if err != nil {
				return err
			}
			if !may || e.compare(before) < 0 || e.height() < h.first || e.height() > h.last {
				return corrupt(h.name(), pageBytes*(1+i), e.height(), "entry is out of order, out of range or not in the filter")
			}
			before = e
		}
	}
	for i := range h.blooms() {
		var b [bloomBytes]byte
		at := pageBytes*(1+h.pages()) + bloomBytes*i
		if _, err := f.ReadAt(b[:], at); err != nil {
			return fmt.Errorf("read %s at %d: %w", h.name(), at, err)
		}
		if !crcOK(b[:]) {
			return corrupt(h.name(), at, NoHeight, "filter does not match its checksum")
		}
	}
	return nil
}

func (s *Store) checkMeta(report func(error) error) error {
	if s.meta == nil {
		return nil
	}
	if err := s.meta.check(); err != nil {
		if _, damaged := isCorrupt(err); !damaged {
			err = corrupt(metaFile, -1, NoHeight, "%v", err)
		}
		return report(err)
	}
	return nil
}
