package node

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"path/filepath"
	"strings"

	"github.com/kaizenchain/kaizen/host/store"
)

// DiskPart is what one part of a data directory takes.
type DiskPart struct {
	Name  string `json:"name"` // one of diskParts
	Files int    `json:"files"`
	Bytes uint64 `json:"bytes"` // lengths of the files
}

// diskParts maps what lies in a data directory to the name of its part, in the
// order in which they are shown. Whatever else is there is "other".
var diskParts = []struct{ file, name string }{
	{"blocks", "blocks"}, {"index", "index"}, {"journal", "journal"}, {"meta.db", "meta"}, {"snapshots", "snapshots"}, {"evidence", "evidence"}, {"cache", "cache"},
}

// otherPart holds the small files: genesis, head mark, keys, configuration.
const otherPart = "other"

// maxGrowthBlocks is how many of the newest blocks a projection is made from.
const maxGrowthBlocks = 1000

// DiskUsage is what a data directory takes, and what it will.
type DiskUsage struct {
	Dir    string     `json:"dir"`
	Base   uint64     `json:"base"`   // first block kept
	Height uint64     `json:"height"` // newest block
	Parts  []DiskPart `json:"parts"`
	Bytes  uint64     `json:"bytes"` // of all parts
	Free   uint64     `json:"free"`  // what the file system has left, bytes
	Growth *Growth    `json:"growth"`
}

// Growth is what the newest blocks come to in a day, if they go on like that.
type Growth struct {
	From         uint64  `json:"from"` // measured over the blocks above this one
	To           uint64  `json:"to"`
	BlocksPerDay uint64  `json:"blocks_per_day"`
	BlocksBytes  uint64  `json:"blocks_bytes_per_day"`
	IndexBytes   uint64  `json:"index_bytes_per_day"`
	Mode         string  `json:"prune_mode"`
	Bytes        uint64  `json:"bytes_per_day"`   // by which the directory grows, for good
	Level        *uint64 `json:"level_bytes"`     // at which blocks and index of a node that prunes stay; null for one that does not
	DaysLeft     *uint64 `json:"days_until_full"` // null: not in sight
}

// Usage looks at a data directory. The store is open on it, read-only if its node
// runs: files that come and go meanwhile may be missed.
func Usage(st *store.Store, cfg *Config) (DiskUsage, error) {
	u := DiskUsage{Dir: st.Dir(), Base: st.Base(), Height: st.Height()}
	if err := u.measure(); err != nil {
		return u, err
	}
	var err error
	if u.Free, err = FreeBytes(st.Dir()); err != nil {
		return u, err
	}
	u.Growth, err = growth(st, cfg)
	if g := u.Growth; g != nil && g.Bytes > 0 {
		days := u.Free / g.Bytes
		g.DaysLeft = &days
	}
	return u, err
}

// measure adds up the files.
func (u *DiskUsage) measure() error {
	byFile := map[string]*DiskPart{}
	for _, p := range diskParts {
		byFile[p.file] = &DiskPart{Name: p.name}
	}
	other := &DiskPart{Name: otherPart}
	err := filepath.WalkDir(u.Dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since it was listed
		}
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(u.Dir, path)
		if err != nil {
			return err
		}
		top, _, _ := strings.Cut(filepath.ToSlash(inside), "/")
		part := byFile[top]
		if part == nil {
			part = other
		}
		part.Files++
		part.Bytes += uint64(info.Size())
		u.Bytes += uint64(info.Size())
		return nil
	})
	for _, p := range diskParts {
		u.Parts = append(u.Parts, *byFile[p.file])
	}
	u.Parts = append(u.Parts, *other)
	if err != nil {
		return fmt.Errorf("measure %s: %w", u.Dir, err)
	}
	return nil
}

// sample is what consecutive blocks take: those above from, up to to.
type sample struct {
	from, to   uint64
	bytes, ids uint64
	ms         uint64 // between the two
}

// newest measures the newest blocks, downward: where one is gone, because the node
// prunes meanwhile, it ends.
func newest(st *store.Store) (s sample, err error) {
	last, ok := st.Head()
	if !ok {
		return s, nil
	}
	s.to, s.from = last.Height, last.Height
	for s.to-s.from < maxGrowthBlocks {
		parent, err := st.Header(s.from - 1)
		n, recordErr := st.RecordBytes(s.from)
		r, resultsErr := st.Results(s.from)
		switch err := errors.Join(err, recordErr, resultsErr); {
		case gone(err):
			return s, nil
		case err != nil:
			return s, err
		}
		s.from--
		s.bytes += uint64(n)
		s.ids += 1 + uint64(len(r.Receipts))
		s.ms = last.Time - parent.Time
	}
	return s, nil
}

// gone reports that there is no such block, or none any more.
func gone(err error) bool {
	return errors.Is(err, store.ErrPruned) || errors.Is(err, store.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}

// growth is nil while there are too few blocks to say anything.
func growth(st *store.Store, cfg *Config) (*Growth, error) {
	s, err := newest(st)
	if err != nil || s.from == s.to {
		return nil, err
	}
	perDay := func(n uint64) uint64 { return scale(n, dayMs, s.ms) }
	g := &Growth{From: s.from, To: s.to, BlocksPerDay: perDay(s.to - s.from), BlocksBytes: perDay(s.bytes), IndexBytes: perDay(uint64(store.IndexBytes(s.ids))), Mode: cfg.Prune.Mode}
	if keep := cfg.Prune.blocks(); keep > 0 {
		kept := keep + cfg.Snapshot.IntervalBlocks + cfg.Prune.segmentBlocks()
		level := scale(s.bytes+uint64(store.IndexBytes(s.ids)), kept, s.to-s.from)
		g.Level = &level
	} else {
		g.Bytes = g.BlocksBytes + g.IndexBytes
	}
	return g, nil
}

// dayMs is a day, ms.
const dayMs = 24 * 60 * 60 * 1000

// scale is n · by / of, rounded down, and at most what fits.
func scale(n, by, of uint64) uint64 {
	hi, lo := bits.Mul64(n, by)
	if hi >= of {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, of)
	return q
}
