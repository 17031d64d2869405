package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/params"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/ring"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// market measures what opens and settles theses.
func (b *bench) market() (err error) {
	c, err := b.theChain()
	if err != nil {
		return err
	}
	if err := b.window(c); err != nil {
		return err
	}
	dir := filepath.Join(b.temp, "market")
	if err := c.copyTo(dir); err != nil {
		return err
	}
	w, err := startWriter(b.here(dir), b.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop(), os.RemoveAll(dir)) }()
	m := &trading{bench: b, w: w, wallets: c.wallets}
	if err := m.fresh(); err != nil {
		return err
	}
	if err := m.open(); err != nil {
		return err
	}
	return m.settle()
}

// trading opens theses, and settles them.
type trading struct {
	*bench
	w       *writer
	wallets *wallets
	theses  int    // opened
	started uint64 // when the last of them has started, ms
}

// fresh waits until the open block carries prices that count: the first block of
// a node that has just started does not.
func (m *trading) fresh() error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	until := time.Now().Add(breachPatience)
	for {
		snapshot, _, err := m.w.Oracle(api.ByTag(api.TagPending))
		if err != nil || !snapshot.Stale {
			return err
		}
		select {
		case now := <-poll.C:
			if now.After(until) {
				return fmt.Errorf("no fresh price after %s", breachPatience)
			}
		case <-m.ctx.Done():
			return m.ctx.Err()
		}
	}
}

// lead is how far ahead quotes start: signing and sending a round has to be over
// by then.
func (b *bench) lead() time.Duration { return 2*time.Second + 8*b.slice() }

// open measures RfqSubmit. Its limit is two recoveries.
func (m *trading) open() error {
	const name, two = "RfqSubmit executed, journaled and sealed, fed in process", recoveryLimit + ", two for each"
	rate, err := m.limit()
	if err != nil {
		return err
	}
	f := &feeding{bench: m.bench, w: m.w, wallets: m.wallets, feed: feed}
	var rounds []round
	for range m.rounds {
		n := m.roundSize(rate / 2)
		now := nowMs()
		m.started = now + uint64(m.lead().Milliseconds())
		raws := rawsOf(m.wallets.quotes(n, now, tx.Quote{Lower: 1, Upper: 2, Start: m.started, End: m.started + uint64(time.Hour.Milliseconds())}))
		r, err := m.repeatOnce(func() (float64, error) { return f.round(raws) })
		if err != nil {
			return err
		}
		r.limit /= 2
		rounds = append(rounds, r)
		m.theses += n
	}
	for i := range f.recover {
		f.recover[i] *= 2
	}
	cpu := byTime("market", "RfqSubmit", f.cpu, f.recover).want(atLeast(0.6), atLeast(0.8)).noted("load generator included")
	cpu.Limit.Name = two + ", by processor time"
	m.add(rated("market", name, "1/s", two, "1/s", rounds).want(atLeast(0.6), atLeast(0.8)).noted(f.note()), cpu,
		plain("market", "processor time for an RfqSubmit", "µs", f.cpu...).noted("all cores together"))
	return nil
}

// settle measures SystemSettle on the theses that were opened, all of which have
// been breached.
func (m *trading) settle() error {
	const name = "SystemSettle executed, journaled and sealed, fed in process"
	claim, err := m.breach()
	if err != nil {
		return err
	}
	f := &feeding{bench: m.bench, w: m.w, wallets: m.wallets, feed: feedStreams}
	var rounds []round
	for i := range m.rounds {
		first := i * m.theses / m.rounds
		n := (i+1)*m.theses/m.rounds - first
		raws := rawsOf(m.wallets.settlements(uint64(first)+1, n, nowMs(), claim))
		r, err := m.repeatOnce(func() (float64, error) { return f.round(raws) })
		if err != nil {
			return err
		}
		rounds = append(rounds, r)
	}
	m.add(rated("market", name, "1/s", recoveryLimit, "1/s", rounds).want(atLeast(0.6), atLeast(0.8)).noted(f.note()),
		byTime("market", "SystemSettle", f.cpu, f.recover).want(atLeast(0.6), atLeast(0.8)).noted("load generator included"),
		plain("market", "processor time for a SystemSettle", "µs", f.cpu...).noted("all cores together"))
	return nil
}

// breachPatience bounds the wait for a price after the last thesis has started,
// beyond the time until then.
const breachPatience = 10 * time.Second

// breach waits for a recorded price that lies in the window of every thesis, and
// claims it: no quote's range has it.
func (m *trading) breach() (claim tx.Settlement, err error) {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	until := time.UnixMilli(int64(m.started)).Add(breachPatience)
	for {
		answer, _, err := m.w.Query(m.ctx, api.Ref{}, query.History(tradedPair, m.started, math.MaxUint64))
		if err != nil {
			return claim, err
		}
		var history struct {
			Prices []struct {
				Timestamp uint64 `json:"timestamp"`
				Price     uint64 `json:"price,string"`
			} `json:"prices"`
		}
		if err := json.Unmarshal(answer, &history); err != nil {
			return claim, err
		}
		if len(history.Prices) > 0 {
			p := history.Prices[0]
			return tx.Settlement{Kind: tx.SolverWins, BreachTimestamp: p.Timestamp, BreachPrice: p.Price}, nil
		}
		select {
		case now := <-poll.C:
			if now.After(until) {
				return claim, fmt.Errorf("no price of %s is recorded from %d on", tradedPair, m.started)
			}
		case <-m.ctx.Done():
			return claim, m.ctx.Err()
		}
	}
}

// windowTheses is how many theses are settled in one block of [bench.window].
const windowTheses = 256

// window measures the settling of theses with the longest window there can be, for
// which the module asks for the least and greatest of 65,000 prices.
func (b *bench) window(c *testChain) error {
	program, err := b.module()
	if err != nil {
		return err
	}
	t, err := newTwin(program, c.genesis)
	if err != nil {
		return err
	}
	defer t.exec.Machine.Close()
	opened := nowMs()
	due := opened + rfq.MaxDueMs
	end, err := t.openLong(program, c.wallets, opened)
	if err != nil {
		return err
	}
	t.fillHistory(opened, end)
	settles := c.wallets.settlements(1, windowTheses, due, tx.Settlement{Kind: tx.UserWins})
	txs := make([]*stf.Tx, len(settles))
	for i := range settles {
		txs[i] = settles[i].inspected()
	}
	var rounds []float64
	for range b.rounds {
		var blocks []float64
		for begin := time.Now(); blocks == nil || time.Since(begin) < b.slice()/2; {
			d, err := t.block(due, txs, apply)
			if err != nil {
				return err
			}
			blocks = append(blocks, microseconds(d)/windowTheses)
		}
		rounds = append(rounds, spread(blocks).Median)
	}
	b.add(plain("market", "settle a thesis of 1.8 h by all its prices, in WASM", "µs", rounds...).want(atMost(50), nil).
		noted("the whole of SystemSettle but recovery, not only its question about the window"))
	return nil
}

// tradedPrice is a price within every range of [twin.openLong].
const tradedPrice = 100_000_000_000

// openLong opens theses that are due as late as they may be, and returns their end.
func (t *twin) openLong(program stf.Program, w *wallets, now uint64) (end uint64, err error) {
	base, quote := traded()
	prices := chain.OracleSnapshot{Timestamp: now, Prices: []chain.Price{{Base: base, Quote: quote, Price: tradedPrice, Timestamp: now}}}
	open, err := t.exec.Begin(state.NewOverlay(t.tree), 1, now, prices)
	if err != nil {
		return 0, err
	}
	end = now + rfq.MaxDueMs - params.DefaultChallengeWindowMs
	txs, err := inspect(program, rawsOf(w.quotes(windowTheses, now, tx.Quote{Lower: 1, Upper: 2 * tradedPrice, Start: now, End: end})))
	if err != nil {
		return 0, err
	}
	for i, tx := range txs {
		if err := open.Apply(tx); err != nil {
			return 0, err
		}
		if r := open.Receipt(i); r.Code != abi.CodeOK {
			return 0, fmt.Errorf("quote failed: %s %s", t.exec.Schema.ErrorName(r.Code), r.Detail)
		}
	}
	closed, err := open.Close()
	if err != nil {
		return 0, err
	}
	t.tree.Commit(closed.Overlay.Changes(), runner)
	return end, nil
}

// fillHistory records a price in every slot after from and up to the end of the
// window, as the module does at the beginning of a block.
func (t *twin) fillHistory(from, end uint64) {
	ov := state.NewOverlay(t.tree)
	var r ring.Ring
	r.Open(ov, 0) // the first market of genesis is the traded pair
	for at := from + ring.SlotMs; at <= end; at += ring.SlotMs {
		r.Record(at, tradedPrice+at%997)
	}
	t.tree.Commit(ov.Changes(), runner)
}
