package devnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/event"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/query"
)

// queryTimeout bounds one look at the read node's state.
const queryTimeout = 5 * time.Second

// Value is where all the money is, by the read node's state.
type Value struct {
	Genesis   api.Amount `json:"genesis"`
	Deposits  api.Amount `json:"deposits"`
	Processed api.Amount `json:"processed_withdrawals"`
	Pending   api.Amount `json:"pending_withdrawals"`
	Escrow    api.Amount `json:"escrow"`
	Balances  api.Amount `json:"balances"`
	Said      bool       `json:"conserved"` // by the module
}

// Total is what there is; ok is false if it is not what ever came in less what
// went out, or the module says so.
func (v *Value) Total() (total uint64, ok bool) {
	there, over := sum(v.Balances, v.Escrow, v.Pending, v.Processed)
	came, over2 := sum(v.Genesis, v.Deposits)
	return there - uint64(v.Processed), v.Said && !over && !over2 && there == came
}

func sum(amounts ...api.Amount) (total uint64, over bool) {
	for _, a := range amounts {
		var carry uint64
		total, carry = bits.Add64(total, uint64(a), 0)
		over = over || carry > 0
	}
	return total, over
}

// ErrValue is wrapped when value was created or lost.
var ErrValue = errors.New("the sum of value has changed")

// check says what is wrong with a value; it is what a block's verification would
// have to find, so it fails like one.
func (v *Value) check() error {
	if _, ok := v.Total(); !ok {
		return fmt.Errorf("%w: %w: balances %d + escrow %d + pending %d is not genesis %d + deposits %d - processed %d",
			node.ErrVerification, ErrValue, v.Balances, v.Escrow, v.Pending, v.Genesis, v.Deposits, v.Processed)
	}
	return nil
}

// value asks the read node's state, which is the verified one.
func (n *Net) value() (v Value, err error) {
	return v, n.ask(query.Totals(), &v)
}

// openTheses counts them over all markets.
func (n *Net) openTheses() (open uint64, err error) {
	var v struct {
		Markets []struct {
			Open uint64 `json:"open_theses"`
		} `json:"markets"`
	}
	err = n.ask(query.Markets(), &v)
	for _, m := range v.Markets {
		open += m.Open
	}
	return open, err
}

func (n *Net) ask(question []byte, to any) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	b, _, err := n.reader.Query(ctx, api.ByTag(api.TagLatest), question)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// Theses are those of the blocks that the read node verified in this run.
type Theses struct {
	Opened     uint64 `json:"opened"`
	UserWins   uint64 `json:"user_wins"`
	SolverWins uint64 `json:"solver_wins"`
	Void       uint64 `json:"void"`
	Cancelled  uint64 `json:"cancelled"`
}

// add takes the events of one block.
func (t *Theses) add(r *chain.Results) {
	lists := [][][]byte{r.Begin, r.End}
	for i := range r.Receipts {
		lists = append(lists, r.Receipts[i].Events)
	}
	for _, events := range lists {
		for _, b := range events {
			t.event(b)
		}
	}
}

func (t *Theses) event(b []byte) {
	switch event.TagOf(b) {
	case event.TagThesisCreated:
		t.Opened++
	case event.TagThesisSettled:
		e, _ := event.DecodeThesisSettled(b)
		switch e.Outcome {
		case event.UserWins:
			t.UserWins++
		case event.SolverWins:
			t.SolverWins++
		case event.Void:
			t.Void++
		case event.Cancelled:
			t.Cancelled++
		}
	}
}

// counter counts what is in verified blocks, each block once.
type counter struct {
	reader *node.Reader
	market bool

	mu     sync.Mutex
	height uint64 // counted up to here
	txs    uint64
	theses Theses
}

func (c *counter) count() (txs uint64, t Theses) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for head := c.reader.Verified(); c.height < head; c.height++ {
		b, r, err := c.reader.Block(c.height + 1)
		if err != nil {
			break // the node is stopping: the count stays where it is
		}
		c.txs += uint64(len(b.Txs))
		if c.market {
			c.theses.add(r)
		}
	}
	return c.txs, c.theses
}
