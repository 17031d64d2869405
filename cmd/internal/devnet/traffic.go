package devnet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/cmd/internal/wallet"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

const (
	// MaxTPS bounds the rate of traffic, transactions per second.
	MaxTPS = 100_000
	// tick is how often a sender looks whether something is due.
	tick = 20 * time.Millisecond
	// maxBatch bounds one call.
	maxBatch = 250
	// maxAmount bounds one transfer, millionths of a USDC: money goes round in a
	// ring, so accounts stay near where they began.
	maxAmount = 1_000
)

// traffic sends transfers round a ring of accounts at a steady rate.
type traffic struct {
	client *client.Client
	rate   int             // per second, all senders together
	stamps map[int]*stamps // of the accounts

	ok, failed, refused, lost atomic.Uint64
	trouble                   atomic.Pointer[string] // the latest thing that went wrong
}

// Traffic is what the traffic has come to.
type Traffic struct {
	OK      uint64 `json:"ok"`
	Failed  uint64 `json:"failed"`  // in a block, with an error
	Refused uint64 `json:"refused"` // in no block
	Lost    uint64 `json:"lost"`    // no answer
	Trouble string `json:"trouble,omitempty"`
}

func (t *traffic) report() Traffic {
	r := Traffic{OK: t.ok.Load(), Failed: t.failed.Load(), Refused: t.refused.Load(), Lost: t.lost.Load()}
	if s := t.trouble.Load(); s != nil {
		r.Trouble = *s
	}
	return r
}

// run sends until ctx ends.
func (t *traffic) run(ctx context.Context, accounts []Account) {
	var all sync.WaitGroup
	ring := accounts[firstTrafficAccount : lastTrafficAccount+1]
	for i := range ring {
		s := newSender(t, ring, i)
		all.Go(func() { s.run(ctx, t.rate*(i+1)/len(ring)-t.rate*i/len(ring)) })
	}
	all.Wait()
}

// sender is one account's share of the traffic. It has one call under way at a
// time, so that its transactions arrive in the order of their timestamps.
type sender struct {
	t      *traffic
	wallet *wallet.Wallet
	to     chain.Address
	stamps *stamps
	count  uint64
}

// newSender is the i-th of a ring: it pays the next one.
func newSender(t *traffic, ring []Account, i int) *sender {
	return &sender{t: t, wallet: wallet.New(ring[i].Key), to: ring[(i+1)%len(ring)].Address, stamps: t.stamps[ring[i].Index]}
}

func (s *sender) run(ctx context.Context, rate int) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			due := int(now.Sub(start).Seconds()*float64(rate)) - sent
			if due > rate { // the node is slower than the rate: what is a second late stays unsent
				sent += due - rate
				due = rate
			}
			for due > 0 && ctx.Err() == nil {
				n := min(due, maxBatch)
				s.send(ctx, n)
				sent, due = sent+n, due-n
			}
		}
	}
}

// send signs n transfers and waits for their receipts. What is under way when the
// traffic is stopped is still waited for.
func (s *sender) send(ctx context.Context, n int) {
	raws := make([][]byte, n)
	for i := range raws {
		raw, err := s.next()
		if err != nil {
			s.t.complain(err.Error())
			return
		}
		raws[i] = raw
	}
	receipts, err := s.t.client.SendTransactions(context.WithoutCancel(ctx), raws)
	if err != nil {
		s.t.lost.Add(uint64(n))
		s.t.complain(err.Error())
		return
	}
	for i := range receipts {
		s.t.note(&receipts[i])
	}
}

// next makes the next transfer. Timestamps of one sender rise strictly, so no
// two of its transactions are the same.
func (s *sender) next() ([]byte, error) {
	s.count++
	raw, _, err := s.wallet.Sign(&tx.Transaction{From: tx.Address(s.wallet.Address), Timestamp: s.stamps.next(), Kind: tx.KindTransfer,
		Transfer: tx.Transfer{To: tx.Address(s.to), Amount: 1 + s.count%maxAmount}})
	return raw, err
}

func (t *traffic) note(r *api.Receipt) {
	switch r.Status {
	case api.StatusOK:
		t.ok.Add(1)
		return
	case api.StatusFailed:
		t.failed.Add(1)
	default:
		t.refused.Add(1)
	}
	if r.Error != nil {
		t.complain(fmt.Sprintf("transfer %s: %s %s", r.Status, *r.Error, r.ErrorDetail))
	}
}

func (t *traffic) complain(text string) { t.trouble.Store(&text) }
