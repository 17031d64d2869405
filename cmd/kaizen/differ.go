package main

import (
	"encoding/json"
	"fmt"

	"github.com/kaizenchain/kaizen/cmd/internal/cli"
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/node"
	"github.com/kaizenchain/kaizen/host/rpc/api"
	"github.com/kaizenchain/kaizen/host/rpc/market"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// receiptDiff is the first receipt that differs from the stored one.
type receiptDiff struct {
	Index      int        `json:"index"`
	ID         chain.Hash `json:"id"`
	Stored     string     `json:"stored"` // the code's name, and the encoding
	Recomputed string     `json:"recomputed"`
}

func receiptDiffOf(d *node.ReceiptDifference, program stf.Program) *receiptDiff {
	if d == nil {
		return nil
	}
	describe := func(r *chain.Receipt) string {
		status := "ok"
		if r.Code != abi.CodeOK {
			status = program.Schema().ErrorName(r.Code)
		}
		return fmt.Sprintf("%s %s", status, hexOf(r.Append(nil)))
	}
	return &receiptDiff{Index: d.Index, ID: d.Stored.ID, Stored: describe(&d.Stored), Recomputed: describe(&d.Recomputed)}
}

// keyDiff is the first key that differs from a snapshot.
type keyDiff struct {
	Height     uint64     `json:"height"` // of the snapshot
	Key        api.Bytes  `json:"key"`
	Name       string     `json:"name,omitempty"` // what it is, if the module is known
	Stored     stateValue `json:"stored"`
	Recomputed stateValue `json:"recomputed"`
	LastWrite  *lastWrite `json:"last_write"`
	Searched   uint64     `json:"searched"` // the blocks executed to find it begin after this one
}

// stateValue is a value: in bytes, and as the module answers about it.
type stateValue struct {
	Value  *api.Bytes      `json:"value"` // null: absent
	Answer json.RawMessage `json:"answer,omitempty"`
}

// lastWrite is what changed a key last: a transaction, or a hook of the block.
type lastWrite struct {
	Height uint64      `json:"height"`
	Hook   string      `json:"hook,omitempty"`
	Index  *int        `json:"index,omitempty"`
	ID     *chain.Hash `json:"id,omitempty"`
}

func keyDiffOf(d *node.KeyDifference, program stf.Program) *keyDiff {
	if d == nil {
		return nil
	}
	k := &keyDiff{Height: d.Height, Key: d.Key, Searched: d.Searched}
	var query []byte
	if program.Schema().Name == market.Name {
		k.Name, query = market.StateKey(d.Key)
	}
	k.Stored, k.Recomputed = valueOf(program, query, d.Key, d.Stored), valueOf(program, query, d.Key, d.Recomputed)
	if w := d.LastWrite; w != nil {
		k.LastWrite = &lastWrite{Height: w.Height, Hook: w.Hook}
		if w.Hook == "" {
			k.LastWrite.Index, k.LastWrite.ID = &w.Index, &w.ID
		}
	}
	return k
}

// single is a state of one key.
type single struct{ key, value []byte }

// Get implements [stf.View].
func (s single) Get(key []byte) ([]byte, bool) { return s.value, string(key) == string(s.key) }

// valueOf asks the module what a value says, in a state that has nothing else. Where
// it cannot say, the bytes stand alone.
func valueOf(program stf.Program, query, key []byte, value *[]byte) stateValue {
	if value == nil {
		return stateValue{}
	}
	b := api.Bytes(*value)
	v := stateValue{Value: &b}
	if query == nil {
		return v
	}
	out, err := program.Query(single{key, b}, abi.Context{}, query)
	if err == nil && out.Code == abi.CodeOK && json.Valid(out.Output) {
		v.Answer = append(json.RawMessage(nil), out.Output...)
	}
	return v
}

func printDiffs(t *cli.Table, v *verdict) {
	if r := v.Receipt; r != nil {
		t.Row("first receipt", fmt.Sprintf("of transaction %d, %s", r.Index, r.ID))
		t.Row("  stored", r.Stored)
		t.Row("  recomputed", r.Recomputed)
	}
	if k := v.Key; k != nil {
		t.Row("first key", fmt.Sprintf("%s %s, compared with the snapshot of block %d", hexOf(k.Key), k.Name, k.Height))
		t.Row("  stored", k.Stored)
		t.Row("  recomputed", k.Recomputed)
		t.Row("  last written", k.written())
	}
}

// String is the value for a table.
func (v stateValue) String() string {
	switch {
	case v.Value == nil:
		return "absent"
	case v.Answer != nil:
		return fmt.Sprintf("%s  %s", hexOf(*v.Value), v.Answer)
	}
	return hexOf(*v.Value)
}

// written is who wrote the key last, for a table.
func (k *keyDiff) written() string {
	w := k.LastWrite
	switch {
	case w == nil && k.Searched == 0:
		return "by no block from genesis on"
	case w == nil:
		return fmt.Sprintf("by no block from %d on, where what is kept begins", k.Searched+1)
	case w.Hook != "":
		return fmt.Sprintf("by %s of block %d", w.Hook, w.Height)
	}
	return fmt.Sprintf("by transaction %d of block %d, %s", *w.Index, w.Height, *w.ID)
}
