package relay

import (
	"context"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/settle"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// signer makes transactions of settlements. Signatures are deterministic (RFC
// 6979): the same settlement is always the same bytes.
type signer struct {
	address chain.Address
	key     *secp.Key
	hasher  tx.Hasher
}

func (s *signer) sign(v *settle.Settlement) (raw []byte, id chain.Hash, err error) {
	t := tx.Transaction{From: s.address, Timestamp: v.Stamp, Kind: tx.KindSystemSettle}
	if v.Kind == settle.Decide {
		t.Kind = tx.KindRfqSettle
		t.RfqSettle.ThesisID = v.Thesis
	} else {
		t.SystemSettle = tx.SystemSettle{ThesisID: v.Thesis, Settlement: tx.Settlement{
			Kind: tx.SettlementKind(v.Kind), BreachTimestamp: v.BreachTimestamp, BreachPrice: v.BreachPrice}}
	}
	err = s.hasher.Sign(secp.Keccak{}, &t, func(digest *tx.Hash) (tx.Signature, error) {
		id = *digest
		return s.key.Sign(digest)
	})
	if err != nil {
		return nil, id, fmt.Errorf("sign settlement of thesis %d: %w", v.Thesis, err)
	}
	return t.Append(nil), id, nil
}

// answer is what became of the batch that was out.
type answer struct {
	batch   []settle.Settlement
	answers []settle.Answer
	down    error // the node did not answer, or does not take anything now
	fatal   error
	refusal string // one of the answers that are no success, for the log
}

// send makes the record durable, signs, sends, and tells the loop.
func (s *Settler) send(ctx context.Context, batch []settle.Settlement, record []byte) {
	a := answer{batch: batch}
	if a.fatal = s.disk.write(inFlightName, frame(&s.identity, record)); a.fatal == nil {
		a.fatal = s.sendBatch(ctx, &a)
	}
	s.answers <- a // there is room: one batch is out at a time
}

// sendBatch fills a. An error is fatal.
func (s *Settler) sendBatch(ctx context.Context, a *answer) error {
	raws, ids := make([][]byte, len(a.batch)), make([]chain.Hash, len(a.batch))
	for i := range a.batch {
		var err error
		if raws[i], ids[i], err = s.signer.sign(&a.batch[i]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	receipts, err := s.node.SendTransactions(ctx, raws)
	if err == nil && len(receipts) != len(raws) {
		err = fmt.Errorf("%d receipts for %d transactions", len(receipts), len(raws))
	}
	if err != nil {
		a.down = err
		return nil
	}
	for i := range receipts {
		a.answers = append(a.answers, s.judge(ctx, a, a.batch[i].Thesis, ids[i], &receipts[i]))
	}
	return nil
}

// judge reads one receipt. One that says that the transaction has been executed
// before is exchanged for that of then.
func (s *Settler) judge(ctx context.Context, a *answer, thesis uint64, id chain.Hash, r *api.Receipt) settle.Answer {
	if r.Error != nil && *r.Error == duplicate {
		first, err := s.node.Receipt(ctx, id)
		if err != nil {
			a.down = err
			return settle.Answer{Thesis: thesis, Outcome: settle.Unknown}
		}
		r = &first
	}
	if r.Error == nil && r.Status == api.StatusOK {
		return settle.Answer{Thesis: thesis, Outcome: settle.Done, Height: r.Height}
	}
	name := r.Status
	if r.Error != nil {
		name = *r.Error
	}
	a.refusal = fmt.Sprintf("thesis %d: %s: %s", thesis, name, r.ErrorDetail)
	return settle.Answer{Thesis: thesis, Outcome: settle.OutcomeOf(name)}
}

// duplicate is the error of a transaction that has been executed before.
const duplicate = "DuplicateTransaction"
