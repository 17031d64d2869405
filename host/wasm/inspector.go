package wasm

import (
	"errors"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// inspectionsPerImage is how many transactions an inspector looks at before its
// memory is put back: often enough that a guest's garbage stays small, rarely
// enough to cost nothing.
const inspectionsPerImage = 1024

// inspector runs the pure export on its own copy of the module. It implements
// [stf.Inspector].
type inspector struct {
	p        *Program
	copy     copyOf
	recovery stf.Recovery
	runs     int
	closed   bool
	call     call
}

// NewInspector makes an inspector. It must be closed.
func (p *Program) NewInspector() (stf.Inspector, error) {
	if err := p.use(); err != nil {
		return nil, err
	}
	i := &inspector{p: p, copy: copyOf{p: p}}
	if err := i.copy.restore(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// Inspect implements [stf.Inspector].
func (i *inspector) Inspect(txs ...*stf.Tx) error {
	if i.closed {
		return ErrClosed
	}
	for _, tx := range txs {
		if err := i.inspect(tx); err != nil {
			return err
		}
	}
	i.recovery.Run(i.p.opts.Crypto, txs)
	return nil
}

// inspect fills everything but the signers.
func (i *inspector) inspect(tx *stf.Tx) error {
	if i.runs++; i.runs%inspectionsPerImage == 0 || i.copy.in.grown() {
		if err := i.copy.restore(); err != nil {
			return err
		}
	}
	i.call = call{export: callInspect, phase: abi.PhaseNone, budget: abi.TxBudget, tx: tx, body: tx.Raw}
	out, err := i.copy.run(&i.call)
	if err != nil {
		return err
	}
	i.copy.in.session.Inspected(tx, out, i.p.schema)
	return nil
}

// Close frees the inspector's memory. Calling it again does nothing.
func (i *inspector) Close() error {
	if i.closed {
		return nil
	}
	i.closed = true
	return errors.Join(i.copy.close(), i.p.release())
}
