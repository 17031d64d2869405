package store

import (
	"fmt"
	"io"
	"math/bits"
	"path"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

// A run is an immutable file of the index: the ids of a range of blocks in
// ascending order, in pages that each have a checksum, and a Bloom filter in
// blocks that each have one.
const (
	runMagic    = "KZINDEX1"
	pageBytes   = 4096
	pageEntries = 255
	entryBytes  = 16

	// The filter has one block of 480 bits for 48 ids, and sets six bits for each:
	// about one lookup in a hundred reads a page for nothing.
	bloomBytes   = 64
	bloomBits    = (bloomBytes - 4) * 8
	bloomEntries = 48
	bloomProbes  = 6

	// MaxRunEntries bounds a run, and with it the memory of a merge: the filter of
	// the largest run is 22 MiB.
	MaxRunEntries = 16 << 20
)

// entry is the first eight bytes of an id and the place it points to. Ids are
// hashes, so eight bytes leave nearly always one candidate, and the block decides.
type entry struct {
	prefix uint64
	place  uint64 // height << 24 | index
}

// blockIndex is the index of an entry whose id is a block's hash.
const blockIndex = 1<<24 - 1

func newEntry(id chain.Hash, height uint64, index int) entry {
	return entry{prefixOf(id), height<<24 | uint64(index)}
}

func prefixOf(id chain.Hash) uint64 { return le.Uint64(id[:]) }

func (e entry) height() uint64 { return e.place >> 24 }
func (e entry) index() int     { return int(e.place & blockIndex) }

func (e entry) compare(o entry) int {
	switch {
	case e.prefix != o.prefix:
		return cmp(e.prefix, o.prefix)
	default:
		return cmp(e.place, o.place)
	}
}

func cmp(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// runHeader is the first page of a run.
type runHeader struct {
	first, last uint64     // heights it covers
	hash        chain.Hash // of block last: after a rollback a run of other blocks is told by it
	entries     uint64
}

func (h *runHeader) pages() int64  { return int64((h.entries + pageEntries - 1) / pageEntries) }
func (h *runHeader) blooms() int64 { return int64((h.entries + bloomEntries - 1) / bloomEntries) }
func (h *runHeader) bytes() int64  { return pageBytes*(1+h.pages()) + bloomBytes*h.blooms() }
func (h *runHeader) name() string {
	return path.Join(indexDir, numbered(h.first, "-")+numbered(h.last, ".run"))
}

// parseRunName reads the heights in a run's file name.
func parseRunName(name string) (first, last uint64, ok bool) {
	a, b, found := strings.Cut(name, "-")
	if !found {
		return 0, 0, false
	}
	first, okFirst := parseNumbered(a+"-", "-")
	last, okLast := parseNumbered(b, ".run")
	return first, last, okFirst && okLast && first <= last
}

func (h *runHeader) encode() []byte {
	b := append(make([]byte, 0, pageBytes), runMagic...)
	b = le.AppendUint64(b, h.first)
	b = le.AppendUint64(b, h.last)
	b = append(b, h.hash[:]...)
	b = le.AppendUint64(b, h.entries)
	return sealCRC(b[:pageBytes])
}

func decodeRunHeader(b []byte) (h runHeader, ok bool) {
	if len(b) < pageBytes || string(b[:8]) != runMagic || !crcOK(b[:pageBytes]) {
		return h, false
	}
	h = runHeader{first: le.Uint64(b[8:]), last: le.Uint64(b[16:]), hash: chain.Hash(b[24:56]), entries: le.Uint64(b[56:])}
	return h, h.first <= h.last && h.last <= MaxHeight && h.entries > 0 && h.entries <= MaxRunEntries
}

// mix spreads a prefix over 64 bits (splitmix64), so that ids ground to share
// their first bytes do not all land in one filter block.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// bloomBlock is the filter block of a prefix, bloomBit the i-th bit in it.
func bloomBlock(prefix uint64, blocks int64) int64 {
	hi, _ := bits.Mul64(mix(prefix), uint64(blocks))
	return int64(hi)
}

func bloomBit(prefix uint64, i int) int {
	h := mix(prefix ^ 0xA5A5A5A5A5A5A5A5)
	return int((h >> (10 * i)) % 1024 * bloomBits / 1024)
}

func setBloom(block []byte, prefix uint64) {
	for i := range bloomProbes {
		bit := bloomBit(prefix, i)
		block[bit/8] |= 1 << (bit % 8)
	}
}

func inBloom(block []byte, prefix uint64) bool {
	for i := range bloomProbes {
		bit := bloomBit(prefix, i)
		if block[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// runWriter writes a run. Entries come in ascending order; their number is known
// or bounded before, and corrected at the end.
type runWriter struct {
	file   vfs.File
	header runHeader
	blooms []byte
	page   []byte
	at     int64
	added  uint64
}

func newRunWriter(file vfs.File, h runHeader) *runWriter {
	return &runWriter{file: file, header: h, blooms: make([]byte, h.blooms()*bloomBytes), at: pageBytes}
}

func (w *runWriter) add(e entry) error {
	w.page = le.AppendUint64(le.AppendUint64(w.page, e.prefix), e.place)
	block := bloomBlock(e.prefix, w.header.blooms()) * bloomBytes
	setBloom(w.blooms[block:block+bloomBytes], e.prefix)
	if w.added++; w.added%pageEntries == 0 {
		return w.flush()
	}
	return nil
}

func (w *runWriter) flush() error {
	if len(w.page) == 0 {
		return nil
	}
	w.page = append(w.page, make([]byte, pageBytes-len(w.page))...)
	if _, err := w.file.WriteAt(sealCRC(w.page), w.at); err != nil {
		return err
	}
	w.at, w.page = w.at+pageBytes, w.page[:0]
	return nil
}

func (w *runWriter) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	for i := 0; i < len(w.blooms); i += bloomBytes {
		sealCRC(w.blooms[i : i+bloomBytes])
	}
	if _, err := w.file.WriteAt(w.blooms, w.at); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.header.encode(), 0); err != nil {
		return err
	}
	return w.file.Sync()
}

// readPage reads the i-th page of entries.
func readPage(f io.ReaderAt, h *runHeader, i int64, buf []byte) ([]entry, error) {
	buf = buf[:pageBytes]
	at := pageBytes * (1 + i)
	if _, err := f.ReadAt(buf, at); err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", h.name(), at, err)
	}
	if !crcOK(buf) {
		return nil, corrupt(h.name(), at, NoHeight, "index page does not match its checksum")
	}
	n := min(h.entries-uint64(i)*pageEntries, pageEntries)
	entries := make([]entry, n)
	for k := range entries {
		entries[k] = entry{le.Uint64(buf[k*entryBytes:]), le.Uint64(buf[k*entryBytes+8:])}
	}
	return entries, nil
}

// mayHold asks the filter whether a prefix can be in the run.
func mayHold(f io.ReaderAt, h *runHeader, prefix uint64) (bool, error) {
	var b [bloomBytes]byte
	at := pageBytes*(1+h.pages()) + bloomBytes*bloomBlock(prefix, h.blooms())
	if _, err := f.ReadAt(b[:], at); err != nil {
		return false, fmt.Errorf("read %s at %d: %w", h.name(), at, err)
	}
	if !crcOK(b[:]) {
		return false, corrupt(h.name(), at, NoHeight, "filter does not match its checksum")
	}
	return inBloom(b[:], prefix), nil
}

// search returns the entries of a prefix. Ids are spread evenly, so the position
// can be computed nearly; every page read narrows the range, and by halving where
// the computed position does not.
func search(f io.ReaderAt, h *runHeader, prefix uint64) (found []entry, err error) {
	var buf [pageBytes]byte
	lo, hi := int64(0), h.pages() // the first page that may hold it is in [lo, hi)
	for guess := true; lo < hi; guess = !guess {
		mid := (lo + hi) / 2
		if guess {
			at, _ := bits.Mul64(prefix, uint64(h.pages()))
			mid = min(max(int64(at), lo), hi-1)
		}
		page, err := readPage(f, h, mid, buf[:])
		if err != nil {
			return nil, err
		}
		switch {
		case page[len(page)-1].prefix < prefix:
			lo = mid + 1
		case page[0].prefix > prefix:
			hi = mid
		default:
			return collect(f, h, prefix, mid)
		}
	}
	return nil, nil
}

// collect gathers the entries of a prefix around a page that may hold some.
func collect(f io.ReaderAt, h *runHeader, prefix uint64, page int64) (found []entry, err error) {
	var buf [pageBytes]byte
	for page > 0 {
		before, err := readPage(f, h, page-1, buf[:])
		if err != nil {
			return nil, err
		}
		if before[len(before)-1].prefix < prefix {
			break
		}
		page--
	}
	for ; page < h.pages(); page++ {
		entries, err := readPage(f, h, page, buf[:])
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.prefix == prefix {
				found = append(found, e)
			}
			if e.prefix > prefix {
				return found, nil
			}
		}
	}
	return found, nil
}
