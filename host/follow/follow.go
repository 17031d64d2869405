// Package follow is the read node's sync engine: the four tips, the three-step
// pass that makes a local chain equal to a source's, and the rules of the store
// that remembers how far it got.
//
// It is pure: it reads through [Source] and [Local], speaks through [Handler],
// and must not import a clock, the network, a lock or anything that can block by
// itself. Who dials, waits, executes and stores is host/node's business.
//
//	pass:  Source.Tips ─▶ 1 walk back to the fork, emit pruned
//	                      2 download in batches,  emit added …
//	                      3 reconcile tiers,      emit proposed, checkpointed, proven, finalized
//
// Live following, catch-up and restart are this one pass. A push from the source
// is a doorbell ([Bell]): it changes when the next pass runs, never what it does.
//
// Everything here belongs to one goroutine. The ids S-… and R-… are those of the
// requirements; testdata has one scenario for each.
package follow

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Source is what a pass reads from (S-23): a remote node, or the node's own
// archive. Every answer is one instant's; two answers may belong to different
// ones, and the pass copes.
type Source interface {
	// Tips reads all four tiers at one instant (S-01).
	Tips() (chain.Tips, error)
	// Blocks returns up to limit consecutive blocks, the first of them number
	// from. Fewer are fine; none, or an error that is ErrNotAvailable, means that
	// block from cannot be served.
	Blocks(from uint64, limit int) ([]*chain.Block, error)
	// BlockData returns the header of one block, or an error that is
	// ErrNotAvailable.
	BlockData(number uint64) (chain.Header, error)
}

// Local is the view of what was synced so far.
type Local interface {
	// Tips returns the local cursors. A zero hash means "unknown", which gates
	// skip (S-11). A zero Checkpointed tip means that the consumer keeps none,
	// which is only allowed with IgnoreCheckpoints (S-20).
	Tips() (chain.Tips, error)
	// BlockHash returns the hash at a height, false if it is not known. That of
	// block 0 always is (S-46).
	BlockHash(number uint64) (hash chain.Hash, ok bool, err error)
}

// Handler takes the events of a pass, in order. An error ends the pass; the same
// event comes again with the next one (S-22).
type Handler interface {
	Handle(Event) error
}

// Event is one of [BlocksAdded], [ChainPruned], [ChainProposed],
// [ChainCheckpointed], [ChainProven], [ChainFinalized].
type Event interface {
	// String is one stable line.
	String() string
	isEvent()
}

type (
	// BlocksAdded delivers consecutive blocks, at least one.
	BlocksAdded struct{ Blocks []*chain.Block }
	// ChainPruned takes back everything above Target, which becomes the proposed
	// tip. It carries two tips of the source, so that cursors which are ahead of
	// them can be pulled back (S-07).
	ChainPruned struct {
		Target       chain.BlockID
		Checkpointed chain.TipID
		Proven       chain.TipID
	}
	// ChainProposed says that the proposed tip is another one than before the
	// pass (S-42).
	ChainProposed struct {
		Block  chain.BlockID
		Header chain.Header
	}
	// ChainCheckpointed moves the checkpointed tip; at most once per pass (S-05).
	ChainCheckpointed struct{ Tip chain.TipID }
	// ChainProven moves the proven tip.
	ChainProven struct{ Tip chain.TipID }
	// ChainFinalized moves the finalized tip.
	ChainFinalized struct{ Tip chain.TipID }
)

func (BlocksAdded) isEvent()       {}
func (ChainPruned) isEvent()       {}
func (ChainProposed) isEvent()     {}
func (ChainCheckpointed) isEvent() {}
func (ChainProven) isEvent()       {}
func (ChainFinalized) isEvent()    {}

func (e BlocksAdded) String() string {
	first, last := e.Blocks[0], e.Blocks[len(e.Blocks)-1]
	return fmt.Sprintf("added %s..%s", describeID(first.Header.ID()), describeID(last.Header.ID()))
}

func (e ChainPruned) String() string {
	return fmt.Sprintf("pruned %s checkpointed %s proven %s", describeID(e.Target), describeTip(e.Checkpointed), describeTip(e.Proven))
}

func (e ChainProposed) String() string     { return "proposed " + describeID(e.Block) }
func (e ChainCheckpointed) String() string { return "checkpointed " + describeTip(e.Tip) }
func (e ChainProven) String() string       { return "proven " + describeTip(e.Tip) }
func (e ChainFinalized) String() string    { return "finalized " + describeTip(e.Tip) }

func describeID(id chain.BlockID) string { return fmt.Sprintf("%d:%s", id.Number, id.Hash.Short()) }

func describeTip(t chain.TipID) string {
	return fmt.Sprintf("%s/%d:%s", describeID(t.Block), t.Batch.Number, t.Batch.Hash.Short())
}

// ErrNotAvailable is what a [Source] answers, possibly wrapped, for a block that
// it does not have.
var ErrNotAvailable = errors.New("block is not available")
