package stf

import (
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Executor runs blocks on one machine.
type Executor struct {
	Machine Machine
	Schema  *Schema
	Hash    chain.Hash // of the module

	// Of the block before: room for as much is made at once.
	expect       int // transactions
	keys, writes int // of its overlay, at most maxRoom

	open *Open // begun last
}

// maxRoom bounds the keys and the writes that room is made for when a block begins: 140 kB,
// which nobody waits for long. The tables of a larger block grow.
const maxRoom = 2 << 10

// NewExecutor makes a machine for program.
func NewExecutor(program Program) (*Executor, error) {
	m, err := program.NewMachine()
	if err != nil {
		return nil, err
	}
	return &Executor{Machine: m, Schema: program.Schema(), Hash: program.Hash()}, nil
}

// Open is a block that takes transactions. Its changes are in an overlay over
// the parent's state.
type Open struct {
	exec    *Executor
	ctx     abi.Context
	oracle  chain.OracleSnapshot
	encoded []byte // oracle
	state   *state.Overlay
	clean   int // overlay mark before begin_block
	txs     []*Tx
	bytes   int
	results chain.Results
	output  int // bytes of results, about
}

// Closed is a block whose results are known and whose state root is not: the
// changes are in Overlay, which nobody writes any more.
type Closed struct {
	Height  uint64
	Time    uint64
	Oracle  chain.OracleSnapshot
	Results chain.Results
	Overlay *state.Overlay

	moduleHash chain.Hash
	txs        []*Tx // until hashed

	raws    [][]byte // of txs, as the rest
	signers []byte

	oracleHash, txsRoot, receiptsRoot chain.Hash
}

// Genesis runs the module's genesis export on an empty overlay.
func (e *Executor) Genesis(g *chain.Genesis, ov *state.Overlay) (*chain.Results, error) {
	if g.ModuleHash != e.Hash {
		return nil, fmt.Errorf("%w: genesis names %s, loaded is %s", ErrModule, g.ModuleHash, e.Hash)
	}
	out, err := e.Machine.Genesis(ov, g.Append(nil))
	if err != nil {
		return nil, err
	}
	if out.Code != abi.CodeOK {
		return nil, e.hookError(abi.ExportGenesis, 0, out)
	}
	return &chain.Results{Begin: out.Events}, nil
}

// ErrModule is wrapped when a chain or block names another module than the one
// that is loaded (invariant 6).
var ErrModule = fmt.Errorf("state transition module differs")

func (e *Executor) hookError(export string, height uint64, out Outcome) error {
	return &HookError{Export: export, Height: height, Code: out.Code, Name: e.Schema.ErrorName(out.Code), Detail: out.Detail}
}

// Begin opens a block over ov, which must be empty.
func (e *Executor) Begin(ov *state.Overlay, height, time uint64, oracle chain.OracleSnapshot) (*Open, error) {
	e.open = &Open{exec: e, ctx: abi.Context{Height: height, Time: time}, oracle: oracle, encoded: oracle.Append(nil), state: ov, clean: ov.Mark()}
	return e.open, e.open.begin()
}

// GoesOn reports whether o may take more transactions: another block has the machine
// otherwise.
func (e *Executor) GoesOn(o *Open) bool { return e.open == o }

// begin starts the block from nothing.
func (o *Open) begin() error {
	o.txs, o.results.Receipts = make([]*Tx, 0, o.exec.expect), make([]chain.Receipt, 0, o.exec.expect)
	o.state.Reserve(o.exec.keys, o.exec.writes)
	o.bytes, o.output = chain.HeaderBytes+len(o.encoded)+4, 0
	out, err := o.exec.Machine.BeginBlock(o.state, o.ctx, o.encoded)
	if err != nil {
		return err
	}
	if out.Code != abi.CodeOK {
		return o.exec.hookError(abi.ExportBeginBlock, o.ctx.Height, out)
	}
	o.results.Begin = out.Events
	return nil
}

// Height, Time and Txs describe the block so far; Bytes is the size it would
// encode to, ResultBytes about that of its results, and View its state.
func (o *Open) Height() uint64                { return o.ctx.Height }
func (o *Open) Time() uint64                  { return o.ctx.Time }
func (o *Open) Oracle() *chain.OracleSnapshot { return &o.oracle }
func (o *Open) Txs() int                      { return len(o.txs) }
func (o *Open) Bytes() int                    { return o.bytes }
func (o *Open) ResultBytes() int              { return o.output }
func (o *Open) View() *state.Overlay          { return o.state }
func (o *Open) Context() abi.Context          { return o.ctx }

// Receipt is the receipt of the i-th transaction.
func (o *Open) Receipt(i int) *chain.Receipt { return &o.results.Receipts[i] }

// Submit is the write node's way in: a transaction that may be in no block is
// refused and leaves no trace; any other is executed and gets its receipt, which
// never changes.
func (o *Open) Submit(tx *Tx) (*chain.Receipt, *Refusal, error) {
	if tx.Refusal != nil {
		return nil, tx.Refusal, nil
	}
	out, err := o.exec.Machine.Admit(o.state, o.ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	if out.Code != abi.CodeOK {
		return nil, o.exec.Schema.Refusal(out), nil
	}
	receipt, refusal, err := o.execute(tx)
	if refusal != nil {
		// The module admitted it and then refused it. Its memory now differs from
		// that of a node which never saw this transaction, so run the block again.
		if err := o.rebuild(); err != nil {
			return nil, nil, err
		}
	}
	return receipt, refusal, err
}

// Apply executes a transaction of a sealed block, where a refusal makes the
// block invalid.
func (o *Open) Apply(tx *Tx) error {
	_, refusal, err := o.execute(tx)
	if err != nil {
		return err
	}
	if refusal != nil {
		return fmt.Errorf("%w: block %d transaction %d: %w", ErrRefusedInBlock, o.ctx.Height, len(o.txs), refusal)
	}
	return nil
}

func (o *Open) execute(tx *Tx) (*chain.Receipt, *Refusal, error) {
	if len(tx.Raw) > abi.MaxTxBytes {
		invariant.Broken("transaction of %d bytes reached execution", len(tx.Raw))
	}
	out, err := o.exec.Machine.Execute(o.state, o.ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	if !out.Accepted {
		if out.Code == abi.CodeOK {
			out.Code, out.Detail = abi.CodeTrap, "execute returned without accept"
		}
		return nil, o.exec.Schema.Refusal(out), nil
	}
	o.txs = append(o.txs, tx)
	o.bytes += 4 + len(tx.Raw)
	o.output += receiptOverhead + len(out.Detail)
	for _, e := range out.Events {
		o.output += 4 + len(e)
	}
	o.results.Receipts = append(o.results.Receipts, chain.Receipt{ID: out.ID, Code: out.Code, Detail: out.Detail, Events: out.Events})
	return &o.results.Receipts[len(o.results.Receipts)-1], nil, nil
}

// receiptOverhead is what a receipt takes besides its detail and events, bytes.
const receiptOverhead = 32 + 2 + 4 + 4

// rebuild executes the open block again from its beginning.
func (o *Open) rebuild() error {
	txs, want := o.txs, o.results.Receipts
	o.state.Revert(o.clean)
	if err := o.begin(); err != nil {
		return err
	}
	for i, tx := range txs {
		r, refusal, err := o.execute(tx)
		if err != nil {
			return err
		}
		invariant.Hold(refusal == nil && r.Code == want[i].Code && r.ID == want[i].ID,
			"block %d transaction %d came out differently when executed again (invariant 1)", o.ctx.Height, i)
	}
	return nil
}

// Close runs the end hook. Everything else that a block takes is left to
// [Closed.Hash], so that the executor can go on with the next one.
func (o *Open) Close() (*Closed, error) {
	out, err := o.exec.Machine.EndBlock(o.state, o.ctx)
	if err != nil {
		return nil, err
	}
	if out.Code != abi.CodeOK {
		return nil, o.exec.hookError(abi.ExportEndBlock, o.ctx.Height, out)
	}
	o.results.End = out.Events
	o.exec.expect, o.exec.keys, o.exec.writes = len(o.txs), min(maxRoom, o.state.Len()), min(maxRoom, o.state.Mark())
	return &Closed{Height: o.ctx.Height, Time: o.ctx.Time, Oracle: o.oracle, Results: o.results, Overlay: o.state,
		moduleHash: o.exec.Hash, txs: o.txs}, nil
}

// Hash collects what the block is beside its state, and computes what the header
// commits to of it, once; nobody else may use c meanwhile. The methods of c call it if
// nobody has.
func (c *Closed) Hash() {
	if c.raws != nil {
		return
	}
	leaves := make([]chain.Hash, len(c.txs))
	c.raws, c.signers = make([][]byte, len(c.txs)), make([]byte, 0, len(c.txs)*(1+signerBytes))
	for i, tx := range c.txs {
		c.raws[i], leaves[i] = tx.Raw, tx.Leaf
		if tx.Leaf == (chain.Hash{}) {
			leaves[i] = chain.LeafHash(tx.Raw)
		}
		c.signers = appendSigners(c.signers, tx)
	}
	c.oracleHash, c.txsRoot, c.receiptsRoot = c.Oracle.Hash(), chain.MerkleRoot(leaves), c.Results.Root()
	c.txs = nil
}

// Txs is the block's transactions.
func (c *Closed) Txs() [][]byte {
	c.Hash()
	return c.raws
}

// Signers is what is known of who signed Txs: see [CutSigners].
func (c *Closed) Signers() []byte {
	c.Hash()
	return c.signers
}

// TxsRoot is the Merkle root over the transactions.
func (c *Closed) TxsRoot() chain.Hash {
	c.Hash()
	return c.txsRoot
}

// Header is the unsigned header that follows parent, given the state root after
// the block.
func (c *Closed) Header(parent *chain.Header, root chain.Hash) chain.Header {
	c.Hash()
	return chain.Header{
		Version: chain.BlockVersion, ChainID: parent.ChainID, Height: c.Height, Parent: parent.Hash(), Time: c.Time,
		OracleHash: c.oracleHash, TxsRoot: c.txsRoot, ReceiptsRoot: c.receiptsRoot, StateRoot: root,
		ModuleHash: c.moduleHash, Sequencer: parent.Sequencer,
	}
}

// Mismatch is a block that does not execute to what its header says.
type Mismatch struct {
	Height    uint64
	Field     string // state_root, receipts_root, transactions_root, oracle_hash
	Want, Got chain.Hash
}

func (m *Mismatch) Error() string {
	return fmt.Sprintf("block %d: %s recomputed as %s, header says %s", m.Height, m.Field, m.Got, m.Want)
}

// Compare reports the first field in which a recomputed header differs from the
// sealed one.
func Compare(sealed, recomputed *chain.Header) error {
	for _, f := range []struct {
		name      string
		want, got chain.Hash
	}{
		{"oracle_hash", sealed.OracleHash, recomputed.OracleHash},
		{"transactions_root", sealed.TxsRoot, recomputed.TxsRoot},
		{"receipts_root", sealed.ReceiptsRoot, recomputed.ReceiptsRoot},
		{"state_root", sealed.StateRoot, recomputed.StateRoot},
	} {
		if f.want != f.got {
			return &Mismatch{Height: sealed.Height, Field: f.name, Want: f.want, Got: f.got}
		}
	}
	return nil
}
