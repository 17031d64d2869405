package witness

import (
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/host/stf"
)

// ErrInvalid is wrapped when a witness is well-formed and does not hold: around
// what differs.
var ErrInvalid = errors.New("witness does not hold")

func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }

// MissingKeyError is a key that the block reads or writes and the witness does not
// have. It is a [proof.ErrNotCovered].
type MissingKeyError struct {
	Height uint64
	Key    []byte
	Where  string // "begin_block", "transaction 3", "end_block", or "the writes"
}

func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("%s of block %d needs key %x, which the witness does not have", e.Where, e.Height, e.Key)
}

func (e *MissingKeyError) Unwrap() error { return proof.ErrNotCovered }

// Source is what a witness is made of.
type Source struct {
	Genesis *chain.Genesis
	Parent  *chain.Header
	Block   *chain.Block
	Tree    *state.Tree // state after Parent
}

// Build executes a block over the state after its parent and keeps what it took. A
// block that does not come out as its header says is [ErrInvalid].
func Build(program stf.Program, s Source) (*Witness, error) {
	if root := s.Tree.Root(); root != s.Parent.StateRoot {
		return nil, fmt.Errorf("the state has root %s, the parent, block %d, %s", root, s.Parent.Height, s.Parent.StateRoot)
	}
	w := &Witness{Genesis: s.Genesis.Hash(), MaxTxs: s.Genesis.MaxTxsPerBlock, Parent: *s.Parent, Block: s.Block}
	seen := newRecorder(s.Tree)
	closed, err := w.execute(program, seen, func(string) error { return nil })
	if err != nil {
		return nil, err
	}
	if w.state, err = s.Tree.ProveMany(seen.touched(closed)); err != nil {
		return nil, fmt.Errorf("block %d: %w", s.Block.Header.Height, err)
	}
	if w.State, err = proof.DecodeMulti(w.state); err != nil {
		return nil, fmt.Errorf("block %d: %w", s.Block.Header.Height, err)
	}
	if _, err := w.settle(closed); err != nil {
		return nil, err
	}
	return w, nil
}

// recorder is a state that remembers what was asked for.
type recorder struct {
	below stf.View
	seen  map[string]bool
	keys  [][]byte
}

func newRecorder(below stf.View) *recorder { return &recorder{below: below, seen: map[string]bool{}} }

// Get implements [stf.View].
func (r *recorder) Get(key []byte) ([]byte, bool) {
	if !r.seen[string(key)] {
		name := string(key)
		r.seen[name], r.keys = true, append(r.keys, []byte(name))
	}
	return r.below.Get(key)
}

// touched are the keys read from below and the keys written. A key whose write was
// taken back is not among those, and needs not be.
func (r *recorder) touched(c *stf.Closed) [][]byte {
	keys := r.keys
	for _, change := range c.Overlay.Changes() {
		keys = append(keys, change.Key)
	}
	return keys
}

// execute checks all of a block that does not depend on the state, and runs it over
// view. after is asked after each step whether what came of it is worth anything.
func (w *Witness) execute(program stf.Program, view stf.View, after func(where string) error) (c *stf.Closed, err error) {
	if err := w.check(program); err != nil {
		return nil, invalid(err)
	}
	exec, err := stf.NewExecutor(program)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, exec.Machine.Close()) }()
	inspect, err := program.NewInspector()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, inspect.Close()) }()
	return run(exec, inspect, w.Block, view, after)
}

// check compares a block with its parent, its contents and the module.
func (w *Witness) check(program stf.Program) error {
	h := &w.Block.Header
	if h.ModuleHash != program.Hash() {
		return fmt.Errorf("%w: block %d names %s, loaded is %s", stf.ErrModule, h.Height, h.ModuleHash, program.Hash())
	}
	if err := w.checkParent(); err != nil {
		return err
	}
	if err := h.Follows(&w.Parent); err != nil {
		return err
	}
	return w.Block.Check(w.MaxTxs)
}

// checkParent: the block commits to its parent's hash, which is of all but the
// signature.
func (w *Witness) checkParent() error {
	p := &w.Parent
	switch {
	case p.Height > 0:
		return p.VerifySignature()
	case p.Parent != w.Genesis:
		return fmt.Errorf("%w: block 0 is of genesis %s, the witness says %s", chain.ErrParent, p.Parent, w.Genesis)
	case p.Signature != chain.Header{}.Signature:
		return fmt.Errorf("%w: block 0 has one", chain.ErrSignature)
	}
	return nil
}

func run(exec *stf.Executor, inspect stf.Inspector, b *chain.Block, view stf.View, after func(where string) error) (*stf.Closed, error) {
	open, err := exec.Begin(state.NewOverlay(view), b.Header.Height, b.Header.Time, b.Oracle)
	if err := judged(err, "begin_block", after); err != nil {
		return nil, err
	}
	txs := make([]*stf.Tx, len(b.Txs))
	for i, raw := range b.Txs {
		txs[i] = &stf.Tx{Raw: raw}
	}
	if err := inspect.Inspect(txs...); err != nil {
		return nil, err
	}
	for i, tx := range txs {
		if err := judged(open.Apply(tx), fmt.Sprintf("transaction %d", i), after); err != nil {
			return nil, err
		}
	}
	closed, err := open.Close()
	return closed, judged(err, "end_block", after)
}

// judged is why a step does not count: what it was executed on first, since nothing
// else means anything then.
func judged(err error, where string, after func(string) error) error {
	var hook *stf.HookError
	if first := after(where); first != nil {
		return invalid(first)
	}
	if errors.Is(err, stf.ErrRefusedInBlock) || errors.As(err, &hook) {
		return invalid(err)
	}
	return err
}

// settle computes the root after a block's writes from the proof, and compares the
// whole header.
func (w *Witness) settle(c *stf.Closed) ([]proof.Update, error) {
	changes := c.Overlay.Changes()
	updates := make([]proof.Update, len(changes))
	for i := range changes {
		updates[i] = proof.Update{Key: changes[i].Key, Value: changes[i].Value, Delete: changes[i].Delete}
		if _, _, err := w.State.Get(updates[i].Key); err != nil {
			return nil, invalid(&MissingKeyError{c.Height, updates[i].Key, "the writes"})
		}
	}
	root, err := w.State.RootAfter(updates)
	if err != nil {
		return nil, invalid(err)
	}
	recomputed := c.Header(&w.Parent, root)
	if err := stf.Compare(&w.Block.Header, &recomputed); err != nil {
		return nil, invalid(err)
	}
	return updates, nil
}
