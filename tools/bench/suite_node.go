package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"time"
)

// node measures the whole write node, fed in this process.
func (b *bench) node() (err error) {
	c, err := b.theChain()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.temp, "fed")
	if err := c.copyTo(dir); err != nil {
		return err
	}
	w, err := startWriter(b.here(dir), b.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop(), os.RemoveAll(dir)) }()
	f := &feeding{bench: b, w: w, wallets: c.wallets, feed: feed}
	rounds, err := b.throughput(f.round)
	if err != nil {
		return err
	}
	figure := rated("node", "signed transfers executed, journaled and sealed, fed in process", "1/s", recoveryLimit, "1/s", rounds).
		want(atLeast(0.6), atLeast(0.85)).noted(f.note())
	b.add(figure,
		byTime("node", "signed transfers", f.cpu, f.recover).noted("load generator included"),
		plain("node", "allocations for a transfer", "1", f.mallocs...).want(atMost(2), atMost(2)).noted("load generator included"),
		plain("node", "bytes allocated for a transfer", "B", f.bytes...).want(atMost(5000), atMost(5000)),
		plain("node", "processor time for a transfer", "µs", f.cpu...).noted("all cores together"))
	b.perTx = spread(f.cpu)
	b.share()
	return b.split(f)
}

// throughput measures rounds whose load is signed before the clock starts.
func (b *bench) throughput(measured func(raws [][]byte) (float64, error)) ([]round, error) {
	rate, err := b.limit()
	if err != nil {
		return nil, err
	}
	var rounds []round
	for range b.rounds {
		raws := b.chain.wallets.load(b.roundSize(rate))
		r, err := b.repeatOnce(func() (float64, error) { return measured(raws) })
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	return rounds, nil
}

// roundSize is how many transfers take about a slice at that rate.
func (b *bench) roundSize(rate float64) int { return max(4*workers, int(rate*b.seconds)) }

// repeatOnce is one round beside the recovery limit.
func (b *bench) repeatOnce(measured func() (float64, error)) (round, error) {
	if err := b.ctx.Err(); err != nil {
		return round{}, err
	}
	runtime.GC()
	return around(b.limit, measured)
}

// feeding feeds a writer in process and counts what that costs.
type feeding struct {
	*bench
	w       *writer
	wallets *wallets
	feed    func(ctx context.Context, w *writer, raws [][]byte) (time.Duration, uint64, error)

	mallocs, bytes, cpu []float64     // for each transfer; cpu in µs
	recover             []float64     // processor time of one recovery beside it, µs
	worst               time.Duration // from the last answer to the last seal
}

func (f *feeding) note() string {
	return fmt.Sprintf("the last block is sealed %.0f ms after the last answer, at most", f.worst.Seconds()*1000)
}

func (f *feeding) round(raws [][]byte) (float64, error) {
	before := ownStats()
	elapsed, highest, err := f.feed(f.ctx, f.w, raws)
	if err != nil {
		return 0, err
	}
	after := ownStats()
	n := float64(len(raws))
	f.mallocs = append(f.mallocs, float64(after.Mallocs-before.Mallocs)/n)
	f.bytes = append(f.bytes, float64(after.Bytes-before.Bytes)/n)
	f.cpu = append(f.cpu, microseconds(after.CPU-before.CPU)/n)
	f.recover = append(f.recover, f.recover1)
	start := time.Now()
	if err := f.w.waitSealed(f.ctx, highest); err != nil {
		return 0, err
	}
	f.worst = max(f.worst, time.Since(start))
	return perSecond(len(raws), elapsed), nil
}

// split profiles one more round and says where the processor was.
func (b *bench) split(f *feeding) error {
	rate, err := b.limit()
	if err != nil {
		return err
	}
	raws := f.wallets.load(b.roundSize(rate))
	name := b.cpuProfile
	if name == "" {
		name = filepath.Join(b.temp, "fed.pprof")
	}
	p := newProfiler()
	if err := p.toggle(name); err != nil {
		return err
	}
	_, err = f.round(raws)
	if err = errors.Join(err, p.end()); err != nil {
		return err
	}
	if err := b.addSplit("write node, fed in process", name); err != nil {
		return err
	}
	return b.writeAllocations()
}

func (b *bench) addSplit(of, profile string) error {
	shares, err := readShares(profile)
	b.report.Splits = append(b.report.Splits, Split{Of: of, Shares: shares})
	return err
}

// writeAllocations writes what was allocated so far, if it was asked for.
func (b *bench) writeAllocations() error {
	if b.memProfile == "" {
		return nil
	}
	f, err := os.Create(b.memProfile)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
