package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/store/vfs"
)

const (
	transferBytes = 122     // a transfer, encoded
	blockTxs      = 500     // transactions of a block that takes 100 KB with its results
	bareBytes     = 8 << 20 // of the file that bare writes go round in
)

// store compares durable appends with a bare write and sync of as many bytes into
// a file that has its size already, one after the other.
func (b *bench) store() error {
	d, err := b.newDisk()
	if err != nil {
		return err
	}
	return errors.Join(b.appends(d), d.close())
}

// disk is a store and a plain file beside it.
type disk struct {
	store   *store.Store
	journal *store.Journal
	head    chain.Header
	bare    vfs.File
	at      int64
}

func (b *bench) newDisk() (*disk, error) {
	dir := filepath.Join(b.temp, "store")
	cfg := nodeConfig(dir, "")
	g := &chain.Genesis{ChainID: 1, Time: 1, IntervalMs: cfg.Block.IntervalMs, MaxTxsPerBlock: cfg.Block.MaxTxsPerBlock, MaxStaleMs: cfg.Oracle.MaxStaleMs}
	seed := numbered("bench sequencer", 0)
	copy(g.Sequencer[:], ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
	if err := store.Init(dir, g, store.Options{}); err != nil {
		return nil, err
	}
	d := &disk{head: g.Header(chain.Hash{}, &chain.Results{})}
	var err error
	if d.store, err = store.Open(dir, store.Options{}); err != nil {
		return nil, err
	}
	if d.journal, _, err = d.store.OpenJournal(); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	if err := d.openBare(filepath.Join(b.temp, "bare")); err != nil {
		return nil, errors.Join(err, d.store.Close())
	}
	return d, nil
}

func (d *disk) openBare(name string) (err error) {
	if d.bare, err = (vfs.OS{}).Create(name); err != nil {
		return err
	}
	if _, err := d.bare.WriteAt(make([]byte, bareBytes), 0); err != nil {
		return err
	}
	return d.bare.Sync()
}

func (d *disk) close() error {
	return errors.Join(d.store.Close(), d.bare.Close())
}

// write is the limit: n bytes and a sync.
func (d *disk) write(n int) error {
	if d.at+int64(n) > bareBytes {
		d.at = 0
	}
	if _, err := d.bare.WriteAt(make([]byte, n), d.at); err != nil {
		return err
	}
	d.at += int64(n)
	return d.bare.Sync()
}

// block makes the next block, which takes about 100 KB with its results.
func (d *disk) block() (*chain.Block, *chain.Results) {
	h := d.head
	h.Height, h.Parent, h.Time = h.Height+1, h.Hash(), h.Time+1
	block := &chain.Block{Header: h}
	results := &chain.Results{}
	for i := range blockTxs {
		block.Txs = append(block.Txs, make([]byte, transferBytes))
		results.Receipts = append(results.Receipts, chain.Receipt{ID: numbered(fmt.Sprint(h.Height), i), Events: [][]byte{make([]byte, 49)}})
	}
	d.head = h
	return block, results
}

func (b *bench) appends(d *disk) error {
	rounds, size, err := b.appendBlocks(d)
	if err != nil {
		return err
	}
	b.add(rated("store", "append a block with its results, durable", "ms", "bare write and sync", "ms", rounds).
		noted(fmt.Sprintf("%d transfers, %d bytes", blockTxs, size)))
	for _, group := range []int{1, 64, 1000} {
		rounds, err := b.appendGroups(d, group)
		if err != nil {
			return err
		}
		b.add(rated("store", fmt.Sprintf("journal %d transfers, durable", group), "ms", "bare write and sync", "ms", rounds))
	}
	return nil
}

// alternate measures pairs of operations for a slice and returns the medians, ms.
func (b *bench) alternate(measured, limit func() error) (round, error) {
	var a, l []time.Duration
	for begin := time.Now(); len(a) == 0 || time.Since(begin) < b.slice()/2; {
		start := time.Now()
		if err := measured(); err != nil {
			return round{}, err
		}
		middle := time.Now()
		if err := limit(); err != nil {
			return round{}, err
		}
		a, l = append(a, middle.Sub(start)), append(l, time.Since(middle))
	}
	return round{quantile(ascendingMs(a), 0.5), quantile(ascendingMs(l), 0.5)}, nil
}

func (b *bench) appendBlocks(d *disk) (rounds []round, size int, err error) {
	for range b.rounds {
		block, results := d.block()
		size = block.Size() + len(results.Append(nil))
		r, err := b.alternate(func() error {
			if err := d.store.Append(store.Record{Block: block, Results: results}); err != nil {
				return err
			}
			block, results = d.block()
			return nil
		}, func() error { return d.write(size) })
		if err != nil {
			return nil, 0, err
		}
		rounds = append(rounds, r)
		d.head, _ = d.store.Head() // the last one made was not stored
	}
	return rounds, size, nil
}

// appendGroups journals groups of transfers of one open block after another.
func (b *bench) appendGroups(d *disk, group int) (rounds []round, err error) {
	height := max(d.journal.Height(), d.store.Height())
	records := make([]store.JournalRecord, 0, group+1)
	for range b.rounds {
		r, err := b.alternate(func() error {
			height++
			records = append(records[:0], store.JournalRecord{Open: &store.JournalOpen{Height: height, Time: height}})
			for range group {
				records = append(records, store.JournalRecord{Tx: make([]byte, transferBytes)})
			}
			return d.journal.Append(records)
		}, func() error { return d.write(group * transferBytes) })
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	return rounds, nil
}
