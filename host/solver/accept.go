package solver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/client"
	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

const (
	// answerTimeout is how long an accepting user is kept waiting for the chain.
	answerTimeout = 10 * time.Second
	// retryAfter is the pause before a transaction is sent again whose fate is
	// unknown.
	retryAfter = 200 * time.Millisecond
	// complainEvery is of how many such sendings the log is told of one: ten seconds.
	complainEvery = 50
)

// accept answers POST /accept.
func (s *Server) accept(ctx context.Context, r *AcceptRequest) (*Accepted, error) {
	if s.opts.DryRun {
		return nil, refuse(http.StatusForbidden, DryRun, "", "this solver only shows what it would pay")
	}
	q := r.Quote.Chain()
	hash, digest := Digests(&q)
	if len(r.UserSignature) != len(tx.Signature{}) {
		return nil, badSignature(fmt.Sprintf("%d bytes, want 65", len(r.UserSignature)))
	}
	signature := tx.Signature(r.UserSignature)
	signer, ok := secp.Recover((*[32]byte)(&digest), &signature)
	if !ok {
		return nil, badSignature("it recovers to nobody")
	}
	o := &order{quote: q, user: signature}
	if err := s.sign(o); err != nil { // it may be sent only once the offer is taken
		return nil, err
	}
	err := s.locked(ctx, func(ctx context.Context) error {
		if err := s.mayAccept(ctx, r.Quote.User, signer); err != nil {
			return err
		}
		name, err := s.feed.nameOf(ctx, r.Quote.Base, r.Quote.Quote)
		if err != nil {
			return err
		}
		_, view, err := s.look(ctx, name)
		if err != nil {
			return err
		}
		return s.book.Take(s.feed.now(), hash, &view)
	})
	if err != nil {
		return nil, err
	}
	return s.execute(ctx, hash, o)
}

func badSignature(detail string) error {
	return refuse(http.StatusUnprocessableEntity, InvalidUserSignature, "user_signature", detail)
}

// mayAccept asks whether signer may accept for user: it is the user, or one of
// the user's API wallets.
func (s *Server) mayAccept(ctx context.Context, user, signer chain.Address) error {
	if signer == user {
		return nil // without asking the node
	}
	a, err := s.node.Account(ctx, user, api.ByTag(api.TagLatest))
	if err != nil || maySign(&a, user, signer) {
		return err
	}
	return badSignature(fmt.Sprintf("it is by %s, who is neither the user %s nor an API wallet of theirs", signer, user))
}

// maySign says whether signer's signature is one of the account at address.
func maySign(a *api.Account, address, signer chain.Address) bool {
	return signer == address || slices.ContainsFunc(a.APIWallets, func(w api.APIWallet) bool { return w.Address == signer && !w.Expired })
}

// outcome is what became of a submission.
type outcome struct {
	id      chain.Hash
	receipt api.Receipt
	err     error
}

// execute sends an offer that was taken, and notes what came of it even if the
// user has stopped waiting.
func (s *Server) execute(ctx context.Context, hash chain.Hash, o *order) (*Accepted, error) {
	done := make(chan outcome, 1)
	s.sent.Go(func() {
		out := s.settle(s.work, o)
		s.note(hash, out)
		done <- out
	})
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case out := <-done:
		return out.accepted()
	case <-timer.C:
	case <-ctx.Done():
	}
	e := refuse(http.StatusGatewayTimeout, Unresolved, "", "the chain has not answered yet; the transaction may still be executed until the quote's deadline")
	e.TxHash = o.id.Load().String()
	return nil, e
}

// order is an RfqSubmit on its way.
type order struct {
	quote tx.Quote
	user  tx.Signature
	raw   []byte
	id    atomic.Pointer[chain.Hash]
}

// maxSignings bounds how often one RfqSubmit is signed.
const maxSignings = 4

// settle brings an order to its end. Where an account sends much, a transaction
// may arrive after so many later ones that the chain does not take its timestamp
// any more: it is in no block then, and signed again with a new one.
func (s *Server) settle(ctx context.Context, o *order) (out outcome) {
	for try := 1; ; try++ {
		out.id = *o.id.Load()
		out.receipt, out.err = s.submit(ctx, o.raw, out.id)
		var answer *client.Error
		if try == maxSignings || !errors.As(out.err, &answer) || answer.Name != "InvalidTimestamp" || s.sign(o) != nil {
			return out
		}
	}
}

// accepted is the answer to the user.
func (o *outcome) accepted() (*Accepted, error) {
	var answer *client.Error
	switch {
	case errors.As(o.err, &answer):
		return nil, &Error{Status: http.StatusUnprocessableEntity, Name: answer.Name, Message: "the chain refused the transaction: " + answer.Message, TxHash: o.id.String()}
	case o.err != nil:
		return nil, &Error{Status: http.StatusBadGateway, Name: Unresolved, Message: o.err.Error(), TxHash: o.id.String()}
	case o.receipt.Status != api.StatusOK:
		return nil, &Error{Status: http.StatusUnprocessableEntity, Name: *o.receipt.Error, Message: "the chain says: " + o.receipt.ErrorDetail, TxHash: o.id.String()}
	}
	thesis, err := ThesisID(&o.receipt)
	return &Accepted{ThesisID: thesis, Receipt: o.receipt}, err
}

// note writes the outcome into the book. One that is not known leaves the offer's
// risk reserved: it may have happened.
func (s *Server) note(hash chain.Hash, o outcome) {
	<-s.lock
	defer func() { s.lock <- struct{}{} }()
	var answer *client.Error
	switch {
	case o.err == nil && o.receipt.Status == api.StatusOK:
		s.book.Done(hash, o.receipt.Height)
		s.opts.Log.Info("thesis opened", "quote", hash, "transaction", o.receipt.TxHash, "block", o.receipt.Height)
	case o.err == nil:
		s.book.Undone(hash)
		s.opts.Log.Warn("thesis not opened", "quote", hash, "error", *o.receipt.Error, "detail", o.receipt.ErrorDetail)
	case errors.As(o.err, &answer):
		s.book.Undone(hash)
		s.opts.Log.Warn("thesis not opened", "quote", hash, "error", o.err)
	default:
		s.opts.Log.Error("the fate of a submission is unknown", "quote", hash, "error", o.err)
	}
}

// sign makes the RfqSubmit.
func (s *Server) sign(o *order) error {
	t := tx.Transaction{From: tx.Address(s.opts.Account), Timestamp: s.opts.Stamp(), Kind: tx.KindRfqSubmit,
		RfqSubmit: tx.RfqSubmit{Quote: o.quote, UserSignature: o.user}}
	var h tx.Hasher
	var id chain.Hash
	err := h.Sign(secp.Keccak{}, &t, func(digest *tx.Hash) (tx.Signature, error) {
		id = *digest
		return s.opts.Key.Sign(digest)
	})
	if err != nil {
		return fmt.Errorf("sign transaction: %w", err)
	}
	o.raw = t.Append(nil)
	o.id.Store(&id)
	return nil
}

// submit sends a transaction until the node has said what became of it: the same
// bytes are executed at most once, however often they are sent, and after the
// quote's deadline not at all.
func (s *Server) submit(ctx context.Context, raw []byte, id chain.Hash) (api.Receipt, error) {
	for try := 0; ; try++ {
		r, err := s.node.SendTransaction(ctx, raw)
		var answer *client.Error
		switch {
		case err == nil:
			return r, nil
		case errors.As(err, &answer) && answer.Name == "DuplicateTransaction":
			if r, err = s.node.Receipt(ctx, id); err == nil {
				return r, nil
			}
		case errors.As(err, &answer) && !passing(answer.Code):
			return r, err
		}
		if try%complainEvery == 0 {
			s.opts.Log.Warn("the node did not take a transaction; it is sent again until it does", "transaction", id, "error", err)
		}
		timer := time.NewTimer(retryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return r, fmt.Errorf("stopped before the chain answered: %w", err)
		}
	}
}

// passing says whether an answer is about the node's moment and not about the
// transaction.
func passing(code api.Code) bool {
	switch code {
	case api.CodeBusy, api.CodeOverloaded, api.CodeRateLimited, api.CodeStopping, api.CodeTimeout, api.CodeInternal:
		return true
	}
	return false
}
