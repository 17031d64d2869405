package node

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestUsage: every file is counted once, and the projection is that of the blocks
// that are there.
func TestUsage(t *testing.T) {
	g := slowGenesis()
	cfg := testConfig(initDir(t, g), g)
	cfg.Snapshot = SnapshotConfig{IntervalBlocks: 10, Keep: 2}
	oldChain(t, cfg, 30)
	st, err := openWritable(cfg.DataDir)
	must(t, err)
	defer st.Close()
	u, err := Usage(st, &cfg)
	must(t, err)
	total, files := uint64(0), 0
	must(t, filepath.Walk(cfg.DataDir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() {
			total += uint64(info.Size())
			files++
		}
		return err
	}))
	parts, counted := uint64(0), 0
	for _, p := range u.Parts {
		parts += p.Bytes
		counted += p.Files
		if empty := p.Name == "evidence" || p.Name == "cache"; empty != (p.Files == 0) {
			t.Errorf("%s has %d files", p.Name, p.Files)
		}
	}
	if u.Bytes != total || parts != total || counted != files {
		t.Errorf("%d bytes, parts %d bytes in %d files, want %d in %d", u.Bytes, parts, counted, total, files)
	}
	if u.Growth == nil || u.Growth.From != 1 || u.Growth.To != 30 || u.Growth.Level != nil || u.Growth.Bytes != u.Growth.BlocksBytes+u.Growth.IndexBytes || u.Growth.DaysLeft == nil {
		t.Fatalf("growth %+v", u.Growth)
	}
	cfg = pruning(cfg)
	u, err = Usage(st, &cfg)
	must(t, err)
	// 20 blocks kept, up to a snapshot interval of 10 and a file of 2 more.
	log := u.Parts[0].Bytes
	if g := u.Growth; g.Level == nil || g.Bytes != 0 || g.DaysLeft != nil || *g.Level < log || *g.Level > 2*log {
		t.Errorf("growth %+v, log of 30 blocks is %d bytes", g, log)
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct{ n, by, of, want uint64 }{
		{10, 3, 4, 7}, {0, 5, 7, 0}, {1 << 40, dayMs, dayMs, 1 << 40}, {math.MaxUint64, math.MaxUint64, math.MaxUint64, math.MaxUint64},
		{math.MaxUint64, 2, 1, math.MaxUint64}, {1, 1, 0, math.MaxUint64},
	} {
		if got := scale(c.n, c.by, c.of); got != c.want {
			t.Errorf("scale(%d, %d, %d) = %d, want %d", c.n, c.by, c.of, got, c.want)
		}
	}
}
