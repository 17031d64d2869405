package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/snapshot"
)

const (
	changedKeys     = 2000      // of an incremental snapshot: a block of 1,000 transfers
	blocksSince     = 10_000    // between the last snapshot and the end of the process
	txsPerBlock     = 20        // of them: what `kaizen dev` sends itself, 200 a second
	restoreRate     = 1_000_000 // keys a second, wanted
	writeShare      = 0.7       // of zstd alone, wanted
	startWithin     = 5         // s, wanted
	pauseWithin     = 1         // ms, wanted
	pausedShare     = 4         // the load beside a snapshot is this part of the limit
	pausedBatchSize = 10        // transactions in one call of it
)

// snapshots measures how snapshots are written, restored and started from, and
// what taking one does to the executor.
func (b *bench) snapshots() error {
	return b.onCopy("snapshots", func(c *testChain, dir string, deps node.Deps) error {
		s, err := b.snapshotOf(dir, deps)
		if err != nil {
			return err
		}
		tree, header, err := b.restores(s)
		if err != nil {
			return err
		}
		if err := b.writes(s, tree); err != nil {
			return err
		}
		if err := b.starts(c, dir, tree, header); err != nil {
			return err
		}
		return b.pausesBeside(dir)
	})
}

// onCopy runs on a copy of the chain in a directory of its own, which is then gone.
func (b *bench) onCopy(name string, run func(c *testChain, dir string, deps node.Deps) error) (err error) {
	c, err := b.theChain()
	if err != nil {
		return err
	}
	program, err := b.module()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.temp, name)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := c.copyTo(dir); err != nil {
		return err
	}
	return run(c, dir, node.Deps{Program: program, Log: b.log})
}

func (b *bench) snapshotOf(dir string, deps node.Deps) (*snapshot.Snapshot, error) {
	b.say("take a snapshot of %d accounts", b.accounts)
	return node.CreateSnapshot(b.ctx, dir, deps, node.CreateOptions{})
}

// restores measures reading with every check, the state root among them.
func (b *bench) restores(s *snapshot.Snapshot) (tree *state.Tree, header *chain.Header, err error) {
	var restored, verified []float64
	for range b.rounds {
		tree = nil
		runtime.GC()
		start := time.Now()
		if tree, header, err = s.Restore(); err != nil {
			return nil, nil, err
		}
		restored = append(restored, perSecond(tree.Len(), time.Since(start)))
		start = time.Now()
		if err := s.Verify(); err != nil {
			return nil, nil, err
		}
		verified = append(verified, perSecond(tree.Len(), time.Since(start)))
	}
	b.add(plain("snapshot", "keys restored, with every check and the state root", "1/s", restored...).want(atLeast(restoreRate), nil),
		plain("snapshot", "keys verified, with every check and the state root", "1/s", verified...).noted("as `kaizen snapshot verify`, without the memory of a state"))
	return tree, header, nil
}

// writes compares writing a snapshot with zstd alone on the same bytes, and an
// incremental one with a whole one.
func (b *bench) writes(s *snapshot.Snapshot, tree *state.Tree) error {
	contents, err := contentsOf(s)
	if err != nil {
		return err
	}
	into := &snapshot.Dir{Path: filepath.Join(b.temp, "written")}
	alone, err := newCompressor()
	if err != nil {
		return err
	}
	var cpu, zstdCPU []float64
	height := s.Manifest.Header.Height
	compare := func(jobs int) ([]round, error) {
		return b.repeat(func() (float64, error) {
			before, _ := usage()
			took := alone.run(contents, jobs)
			after, _ := usage()
			zstdCPU = append(zstdCPU, milliseconds(after-before))
			return float64(s.Manifest.Bytes) / 1e6 / took.Seconds(), nil
		}, func() (float64, error) {
			height++
			took, spent, err := writeAll(into, s, tree, height, jobs)
			cpu = append(cpu, milliseconds(spent))
			return float64(s.Manifest.Bytes) / 1e6 / took.Seconds(), err
		})
	}
	one, err := compare(1)
	if err != nil {
		return err
	}
	spent, alonePerRound := spread(cpu).Median, spread(zstdCPU).Median
	all, err := compare(runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	changed, err := b.incremental(into, s, tree)
	if err != nil {
		return err
	}
	b.add(rated("snapshot", "snapshot written, one chunk compressed at a time", "MB/s", "zstd alone, one stream, the same level", "MB/s", one).want(atLeast(writeShare), nil).
		noted(fmt.Sprintf("as a running node does; before compression; hashed, ordered, written and synced; ratio of processor times %.2f", alonePerRound/spent)),
		rated("snapshot", "snapshot written, a chunk compressed on each core", "MB/s", "zstd alone on all cores, the same level", "MB/s", all).noted("as `kaizen snapshot create` does"),
		plain("snapshot", "compressed to", "1", float64(s.Manifest.CompressedBytes())/float64(s.Manifest.Bytes)),
		plain("snapshot", "incremental snapshot of 2,000 changed keys", "ms", changed...).noted("with its syncs; the whole one is above"))
	return os.RemoveAll(into.Path)
}

// writeAll writes a tree once more, as the snapshot of another block. It returns how
// long that took, and the processor time of it. Nothing is removed between: on ext4
// whoever makes a file after that looks past the inodes that were freed just before.
func writeAll(into *snapshot.Dir, s *snapshot.Snapshot, tree *state.Tree, height uint64, jobs int) (took, cpu time.Duration, err error) {
	meta := snapshot.Meta{GenesisHash: s.Manifest.GenesisHash, Header: s.Manifest.Header, Jobs: jobs}
	meta.Header.Height = height
	before, _ := usage()
	start := time.Now()
	w, err := into.Create(meta)
	if err != nil {
		return 0, 0, err
	}
	tree.AscendPaths(chain.Hash{}, func(path *chain.Hash, k, v []byte) bool {
		err = w.Add(path, k, v)
		return err == nil
	})
	if err != nil {
		return 0, 0, errors.Join(err, w.Abort())
	}
	if _, err := w.Commit(); err != nil {
		return 0, 0, err
	}
	took = time.Since(start)
	after, _ := usage()
	return took, after - before, nil
}

// incremental is the time to write one of few keys, ms.
func (b *bench) incremental(into *snapshot.Dir, s *snapshot.Snapshot, tree *state.Tree) (ms []float64, err error) {
	o, n := state.NewOverlay(nil), 0
	tree.Ascend(chain.Hash{}, func(k, v []byte) bool {
		o.Set(k, v)
		n++
		return n < changedKeys
	})
	for i := range b.rounds {
		meta := snapshot.Meta{GenesisHash: s.Manifest.GenesisHash, Header: s.Manifest.Header, Base: s.Manifest.AsBase()}
		meta.Header.Height += uint64(i + 1)
		start := time.Now()
		w, err := into.Create(meta)
		if err != nil {
			return nil, err
		}
		for _, c := range o.Changes() {
			if err := w.Add(&c.Path, c.Key, c.Value); err != nil {
				return nil, errors.Join(err, w.Abort())
			}
		}
		if _, err := w.Commit(); err != nil {
			return nil, err
		}
		ms = append(ms, milliseconds(time.Since(start)))
	}
	return ms, nil
}

// contentsOf decompresses all chunks.
func contentsOf(s *snapshot.Snapshot) (contents [][]byte, err error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var file []byte
	for i := range s.Manifest.Chunks {
		if file, err = s.ChunkBytes(i, file); err != nil {
			return nil, err
		}
		content, err := d.DecodeAll(file, nil)
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

// compressor is zstd as snapshots use it.
type compressor struct{ encoder *zstd.Encoder }

func newCompressor() (*compressor, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithEncoderCRC(false), zstd.WithWindowSize(snapshot.ChunkBytes))
	return &compressor{e}, err
}

// run compresses all contents, so many at once.
func (c *compressor) run(contents [][]byte, jobs int) time.Duration {
	start := time.Now()
	var next atomic.Int64
	var all sync.WaitGroup
	for range jobs {
		all.Go(func() {
			var out []byte
			for i := next.Add(1) - 1; int(i) < len(contents); i = next.Add(1) - 1 {
				out = c.encoder.EncodeAll(contents[i], out[:0])
			}
		})
	}
	all.Wait()
	return time.Since(start)
}

// pausesBeside measures how long seals keep the executor from transactions while
// one snapshot after the other is taken, and while none is.
func (b *bench) pausesBeside(dir string) (err error) {
	w, err := startWriter(b.here(dir), b.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	rate, err := b.limit()
	if err != nil {
		return err
	}
	without, err := b.pausedLoad(w, rate/pausedShare)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	taken, failed := 0, make(chan error, 1)
	go func() { failed <- takeUntil(ctx, w, dir, &taken) }()
	with, err := b.pausedLoad(w, rate/pausedShare)
	cancel()
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	b.add(plain("snapshot", "intake pause at a seal, p99, no snapshot", "ms", quantile(without, 0.99)).noted(fmt.Sprintf("%d seals, a quarter of the recovery limit as load", len(without))),
		plain("snapshot", "intake pause at a seal, p99, while snapshots are taken", "ms", quantile(with, 0.99)).want(atMost(pauseWithin), nil).
			noted(fmt.Sprintf("%d seals, %d snapshots one after the other", len(with), taken)))
	return nil
}

// takeUntil takes snapshots until ctx ends.
func takeUntil(ctx context.Context, w *writer, dir string, taken *int) error {
	for ctx.Err() == nil {
		if _, err := w.TakeSnapshot(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		*taken++
		if _, err := node.SnapshotDir(dir).Prune(1); err != nil {
			return err
		}
	}
	return nil
}

// pausedLoad sends transfers at a rate and returns the pauses of the seals
// meanwhile, ms, ascending.
func (b *bench) pausedLoad(w *writer, rate float64) ([]float64, error) {
	load := func(n int) [][][]byte {
		return slices.Collect(slices.Chunk(b.chain.wallets.load(n*pausedBatchSize), pausedBatchSize))
	}
	calls := load(count(rate/pausedBatchSize, b.latencyTime()))
	w.sealed()
	every := time.Duration(float64(time.Second) * pausedBatchSize / rate)
	var pauses []time.Duration
	for { // on a machine that is so busy that there was no seal, once more
		_, err := paced(b.ctx, len(calls), every, func(i int) error {
			_, err := submitCall(b.ctx, w, calls[i])
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, s := range w.sealed() {
			pauses = append(pauses, time.Duration(s.Pause))
		}
		if len(pauses) > 0 {
			return ascendingMs(pauses), nil
		}
		calls = load(1)
	}
}

// starts measures the time from the start of a process to where it serves, with
// many blocks since the last snapshot.
func (b *bench) starts(c *testChain, dir string, tree *state.Tree, header *chain.Header) error {
	blocks := uint64(min(blocksSince, b.accounts/10))
	b.say("make %d blocks since the snapshot", blocks)
	fresh := filepath.Join(b.temp, "since")
	if err := c.copyTo(fresh); err != nil {
		return err
	}
	if err := copySnapshot(dir, fresh, header.Height); err != nil {
		return err
	}
	if err := c.prolong(b, fresh, tree, *header, blocks, txsPerBlock); err != nil {
		return err
	}
	var took, cpu []float64
	for range b.rounds {
		begin := time.Now()
		n, err := startChild(b.ctx, b.here(fresh))
		if err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
		used, err := n.lap()
		if err := errors.Join(err, n.kill()); err != nil {
			return err
		}
		cpu = append(cpu, used.CPU.Seconds())
	}
	b.add(plain("snapshot", "process start to serving, 10,000 blocks of 20 transfers since the snapshot", "s", took...).want(atMost(startWithin), nil).
		noted(fmt.Sprintf("%d blocks, the traffic of `kaizen dev`; %.1f s of processor time on all cores together", blocks, spread(cpu).Median)))
	return os.RemoveAll(fresh)
}

// copySnapshot copies the snapshot of a block from one data directory to another.
func copySnapshot(from, to string, height uint64) error {
	s, err := node.FindSnapshot(from, fmt.Sprint(height))
	if err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(to, "snapshots", filepath.Base(s.Path)), os.DirFS(s.Path))
}

// prolong appends blocks of so many transfers to a copy of the chain.
func (c *testChain) prolong(b *bench, dir string, tree *state.Tree, head chain.Header, blocks uint64, txs int) error {
	program, err := b.module()
	if err != nil {
		return err
	}
	key, err := node.LoadSequencerKey(dir)
	if err != nil {
		return err
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	m, err := newMaker(program, st, key)
	if err != nil {
		return errors.Join(err, st.Close())
	}
	m.tree, m.head = tree, head
	w := c.wallets
	for range blocks {
		if err == nil {
			err = m.block(w.transfers(txs, m.head.Time+1, func(int) int { return w.rand.IntN(w.accounts) }))
		}
	}
	if err == nil {
		err = m.flush()
	}
	return errors.Join(err, m.exec.Machine.Close(), st.Close())
}
