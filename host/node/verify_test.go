package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/host/store"
	"github.com/kaizenchain/kaizen/host/witness"
	"github.com/kaizenchain/kaizen/snapshot"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// builtChain is a write node's directory of n blocks, two transactions in each, made
// without a node and so always the same, with snapshots every few blocks.
func builtChain(t *testing.T, n, interval uint64) string {
	t.Helper()
	return builtChainOf(t, n, interval, func(h uint64) []string {
		return []string{fmt.Sprintf("set k%d %d", h, h), fmt.Sprintf("set same %d", h)}
	})
}

// builtChainOf is builtChain with other transactions.
func builtChainOf(t *testing.T, n, interval uint64, txs func(height uint64) []string) string {
	t.Helper()
	g := testGenesis()
	dir := initDir(t, g)
	st, err := store.Open(dir, store.Options{SegmentBlocks: 8})
	must(t, err)
	exec, err := stf.NewExecutor(hosttest.Script{})
	must(t, err)
	l, err := newLedger(st, exec, 1)
	must(t, err)
	for h := uint64(1); h <= n; h++ {
		open, err := exec.Begin(state.NewOverlay(l.versions.Tree()), h, g.Time+h*g.IntervalMs, chain.OracleSnapshot{})
		must(t, err)
		for _, line := range txs(h) {
			_, refusal, err := open.Submit(&stf.Tx{Raw: []byte(line)})
			if refusal != nil || err != nil {
				t.Fatal(refusal, err)
			}
		}
		closed, err := open.Close()
		must(t, err)
		_, err = l.append(closed, func(h *chain.Header) error { h.Sign(testKey); return nil }, nil)
		must(t, err)
	}
	must(t, errors.Join(exec.Machine.Close(), st.Close()))
	for h := interval; h <= n; h += interval {
		_, err := CreateSnapshot(within(t), dir, deps(), CreateOptions{Height: h})
		must(t, err)
	}
	return dir
}

// TestVerifyInParts: the blocks are split at snapshots, each is executed once, and
// the report is the same however many parts there are.
func TestVerifyInParts(t *testing.T) {
	dir := builtChain(t, 60, 10)
	for _, c := range []struct {
		name     string
		opts     VerifyOptions
		from, to uint64 // executed
		parts    int
		first    uint64 // verdicts
	}{
		{"one after the other", VerifyOptions{From: 1, To: 60, Jobs: 1}, 1, 60, 1, 1},
		{"side by side", VerifyOptions{From: 1, To: 60, Jobs: 3}, 1, 60, 6, 1},
		{"genesis too", VerifyOptions{From: 0, To: 60, Jobs: 3}, 1, 60, 6, 0},
		{"fewer parts than snapshots", VerifyOptions{From: 1, To: 60, Jobs: 1, Last: true}, 1, 60, 1, 60},
		{"the last one of all", VerifyOptions{From: 1, To: 60, Jobs: 3, Last: true}, 1, 60, 6, 60},
		{"from the nearest snapshot", VerifyOptions{From: 25, To: 44, Jobs: 2, Needed: true}, 21, 44, 3, 25},
		{"one block", VerifyOptions{From: 31, To: 31, Needed: true}, 31, 31, 1, 31},
	} {
		last, total := uint64(0), c.to-c.from+1
		blocks := uint64(0)
		c.opts.ReadBlocks = func(done, _ uint64) { blocks = done }
		c.opts.Progress = func(done, all, _ uint64) {
			if done != last+1 || all != total {
				t.Errorf("%s: progress %d of %d after %d", c.name, done, all, last)
			}
			last = done
		}
		r, err := VerifyRange(within(t), dir, deps(), c.opts)
		must(t, err)
		if r.From != c.from || r.To != c.to || r.Parts != c.parts || r.Blocks != total || last != total || r.Txs != 2*total || r.Jobs > max(1, c.opts.Jobs) && c.opts.Jobs > 0 {
			t.Errorf("%s: executed %d to %d, %d blocks, %d transactions, in %d parts, %d at once", c.name, r.From, r.To, r.Blocks, r.Txs, r.Parts, r.Jobs)
		}
		if read := blocks == 60; read == c.opts.Needed {
			t.Errorf("%s: read up to block %d beforehand", c.name, blocks)
		}
		for i, v := range r.Verdicts {
			if !v.OK || v.Height != c.first+uint64(i) || v.HeaderRoot != v.Recomputed || i > 0 && v.ParentRoot != r.Verdicts[i-1].HeaderRoot {
				t.Errorf("%s: verdict %d: %+v", c.name, i, v)
			}
		}
		if n := len(r.Verdicts); n == 0 || r.Verdicts[n-1].Height != c.to {
			t.Errorf("%s: %d verdicts", c.name, n)
		}
	}
}

// TestVerifyWithoutSnapshot: where one cannot be used, an older state serves; that
// it is damaged is an error only if everything is to be checked.
func TestVerifyWithoutSnapshot(t *testing.T) {
	dir := builtChain(t, 40, 10)
	spoil(t, dir, 20)
	read := func(done, _ uint64) { t.Errorf("%d read beforehand", done) }
	r, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 4, Needed: true, ReadBlocks: read, ReadSnapshots: read})
	must(t, err)
	if r.Blocks != r.To || len(r.Verdicts) != int(r.To) {
		t.Errorf("%d blocks, %d verdicts of %d", r.Blocks, len(r.Verdicts), r.To)
	}
	if _, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 4}); !errors.Is(err, ErrVerification) {
		t.Errorf("with everything: %v", err)
	}
}

// TestVerifyPruned: where the oldest blocks are gone, the oldest snapshot begins.
func TestVerifyPruned(t *testing.T) {
	dir := builtChain(t, 40, 8)
	st, err := store.Open(dir, store.Options{})
	must(t, err)
	base, err := st.DropBefore(17)
	must(t, errors.Join(err, st.Close()))
	if base != 17 {
		t.Fatalf("the log begins at %d", base)
	}
	r, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 2, Last: true})
	must(t, err)
	if r.From != 17 || r.Blocks != 24 || r.Parts < 2 {
		t.Errorf("executed %d to %d in %d parts", r.From, r.To, r.Parts)
	}
	if _, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 16}); err == nil || !strings.Contains(err.Error(), "the oldest is 17") {
		t.Errorf("a block that is gone: %v", err)
	}
	if _, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 0, To: 5, Needed: true}); err == nil || !strings.Contains(err.Error(), "the oldest is 17") {
		t.Errorf("blocks that are gone, from genesis on: %v", err)
	}
	if _, err := ExportWitness(within(t), dir, deps(), 16, nil); err == nil || !strings.Contains(err.Error(), "the oldest is 17") {
		t.Errorf("its witness: %v", err)
	}
	if _, err := ExportWitness(within(t), dir, deps(), 17, nil); err != nil {
		t.Error(err)
	}
	must(t, os.RemoveAll(filepath.Join(dir, "snapshots")))
	if _, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 17, Needed: true}); !errors.Is(err, ErrSnapshot) {
		t.Errorf("without snapshots: %v", err)
	}
	if _, err := ExportWitness(within(t), dir, deps(), 17, nil); !errors.Is(err, ErrSnapshot) {
		t.Errorf("a witness without snapshots: %v", err)
	}
}

// wrong is Script with a machine that does something else.
type wrong struct {
	hosttest.Script
	from    uint64 // from this block on
	execute func(st stf.State, tx *stf.Tx, out *stf.Outcome)
	end     func(st stf.State)
}

func (p wrong) NewMachine() (stf.Machine, error) {
	m, err := p.Script.NewMachine()
	return wrongMachine{m, p}, err
}

type wrongMachine struct {
	stf.Machine
	wrong
}

func (m wrongMachine) Execute(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	out, err := m.Machine.Execute(st, ctx, tx)
	if ctx.Height >= m.from && m.wrong.execute != nil {
		m.wrong.execute(st, tx, &out)
	}
	return out, err
}

func (m wrongMachine) EndBlock(st stf.State, ctx abi.Context) (stf.Outcome, error) {
	out, err := m.Machine.EndBlock(st, ctx)
	if ctx.Height >= m.from && m.end != nil {
		m.end(st)
	}
	return out, err
}

// TestVerifyExplains: where a block does not come out, the verdict names the first
// key that differs from the first snapshot, both values and who wrote it last, or the
// first receipt that differs. The first block that is wrong is the one reported,
// however many parts find one.
func TestVerifyExplains(t *testing.T) {
	dir := builtChain(t, 40, 10)
	set := func(value string) func(stf.State) {
		return func(st stf.State) { st.Set([]byte("same"), []byte(value)) }
	}
	forgets := func(st stf.State) { st.Delete([]byte("k12")) }
	for _, c := range []struct {
		name    string
		program wrong
		failed  uint64
		key     string
		at      uint64 // of the snapshot
		stored  bool
		got     bool
		last    *Write
	}{
		{"in a hook, in a block with a snapshot", wrong{from: 20, end: set("drifted")}, 20, "same", 20, true, true, &Write{Height: 20, Hook: abi.ExportEndBlock}},
		{"in a block before one", wrong{from: 13, end: set("drifted")}, 13, "same", 20, true, true, &Write{Height: 20, Hook: abi.ExportEndBlock}},
		{"a key that is gone", wrong{from: 25, end: forgets}, 25, "k12", 30, true, false, &Write{Height: 25, Hook: abi.ExportEndBlock}},
		{"in a transaction", wrong{from: 33, execute: func(st stf.State, tx *stf.Tx, _ *stf.Outcome) {
			if bytes.HasPrefix(tx.Raw, []byte("set same")) {
				st.Set([]byte("same"), []byte("spoilt"))
			}
		}}, 33, "same", 40, true, true, &Write{Height: 33, Index: 1}},
		{"a key that was never written here", wrong{from: 33, execute: func(st stf.State, tx *stf.Tx, _ *stf.Outcome) {
			if bytes.HasPrefix(tx.Raw, []byte("set k")) {
				st.Delete(bytes.Fields(tx.Raw)[1])
			}
		}}, 33, "", 40, true, false, nil},
	} {
		for _, jobs := range []int{1, 3} {
			d := deps()
			d.Program = c.program
			r, err := VerifyRange(within(t), dir, d, VerifyOptions{From: 1, Jobs: jobs})
			if !errors.Is(err, ErrVerification) || len(r.Verdicts) == 0 {
				t.Fatalf("%s: %v", c.name, err)
			}
			v := r.Verdicts[len(r.Verdicts)-1]
			if v.Height != c.failed || v.OK || v.Recomputed == (chain.Hash{}) || v.Recomputed == v.HeaderRoot || v.Why == nil {
				t.Fatalf("%s: the verdict is %+v", c.name, v)
			}
			k := v.Why.Key
			if k == nil || c.key != "" && string(k.Key) != c.key || k.Height != c.at || (k.Stored != nil) != c.stored || (k.Recomputed != nil) != c.got {
				t.Fatalf("%s: differs first in %+v", c.name, k)
			}
			checkWrite(t, c.name, k.LastWrite, c.last)
		}
	}
	must(t, os.RemoveAll(snapshotPath(t, dir, 40)))
	d := deps()
	d.Program = wrong{from: 35, end: set("drifted")}
	r, err := VerifyRange(within(t), dir, d, VerifyOptions{From: 1})
	if v := r.Verdicts[len(r.Verdicts)-1]; !errors.Is(err, ErrVerification) || v.Height != 35 || v.Why == nil || v.Why.Key != nil {
		t.Errorf("with nothing to compare with: %+v, %v", v, err)
	}
}

// incrementals makes every snapshot of a directory but the lowest continue the one
// before.
func incrementals(t *testing.T, dir string) {
	t.Helper()
	d := SnapshotDir(dir)
	list, err := d.List()
	must(t, err)
	last := list[len(list)-1].Snapshot
	for _, i := range slices.Backward(list[:len(list)-1]) {
		before, after := treeOf(t, last), treeOf(t, i.Snapshot)
		w, err := d.Create(snapshot.Meta{GenesisHash: i.Snapshot.Manifest.GenesisHash, Header: i.Snapshot.Manifest.Header, Base: last.Manifest.AsBase()})
		must(t, err)
		after.AscendPaths(chain.Hash{}, func(path *chain.Hash, key, value []byte) bool {
			if old, ok := before.Get(key); !ok || !bytes.Equal(old, value) {
				must(t, w.Add(path, key, value))
			}
			return true
		})
		last, err = w.Commit()
		must(t, errors.Join(err, d.Remove(filepath.Base(i.Path))))
	}
}

func treeOf(t *testing.T, s *snapshot.Snapshot) *state.Tree {
	t.Helper()
	links, err := s.Chain()
	must(t, err)
	tree, _, err := snapshot.Restore(links, snapshot.Options{})
	must(t, err)
	return tree
}

// TestVerifyIncrementals: parts begin at snapshots that stand on others. One whose base
// is gone is passed over, and damage where everything is to be checked.
func TestVerifyIncrementals(t *testing.T) {
	dir := builtChain(t, 40, 10)
	incrementals(t, dir)
	r, err := VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 2})
	must(t, err)
	if r.Parts != 4 || r.Blocks != 40 || len(r.Verdicts) != 40 {
		t.Errorf("%d blocks in %d parts, %d verdicts", r.Blocks, r.Parts, len(r.Verdicts))
	}
	must(t, os.RemoveAll(snapshotPath(t, dir, 20)))
	r, err = VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 2, Needed: true})
	must(t, err)
	if len(r.Verdicts) != 40 {
		t.Errorf("without a link: %d verdicts", len(r.Verdicts))
	}
	if _, err = VerifyRange(within(t), dir, deps(), VerifyOptions{From: 1, Jobs: 2}); !errors.Is(err, snapshot.ErrBase) {
		t.Errorf("with everything, without a link: %v", err)
	}
}

// TestLastWriteLongAgo: who wrote a key last is looked for before the state that the
// failed block is executed from, one snapshot after the other, to genesis or to where
// the kept blocks begin. There is progress, and the report says how far that was.
func TestLastWriteLongAgo(t *testing.T) {
	dir := builtChainOf(t, 40, 8, func(h uint64) []string {
		lines := []string{fmt.Sprintf("set same %d", h)}
		switch h {
		case 5:
			lines = append(lines, "set old 1")
		case 35:
			lines = append(lines, "set old 2")
		}
		return lines
	})
	incrementals(t, dir)
	d := deps()
	d.Program = wrong{from: 35, execute: func(st stf.State, tx *stf.Tx, _ *stf.Outcome) {
		if string(tx.Raw) == "set old 2" {
			st.Set([]byte("old"), []byte("1"))
		}
	}}
	check := func(name string, want *Write, searched, blocks uint64) {
		t.Helper()
		var done, total uint64
		r, err := VerifyRange(within(t), dir, d, VerifyOptions{From: 33, Jobs: 2, Needed: true, Searched: func(n, of uint64) {
			if n != done+1 {
				t.Errorf("%s: progress %d after %d", name, n, done)
			}
			done, total = n, of
		}})
		if !errors.Is(err, ErrVerification) {
			t.Fatalf("%s: %v", name, err)
		}
		k := r.Verdicts[len(r.Verdicts)-1].Why.Key
		if k == nil || string(k.Key) != "old" || k.Height != 40 || k.Searched != searched {
			t.Fatalf("%s: %+v", name, k)
		}
		checkWrite(t, name, k.LastWrite, want)
		if done != blocks || total != blocks {
			t.Errorf("%s: %d blocks of %d were executed, want %d", name, done, total, blocks)
		}
	}
	const after = 40 - 34 // from before the failed block to the snapshot that follows
	check("every block is there", &Write{Height: 5, Index: 1}, 0, after+40)
	st, err := store.Open(dir, store.Options{})
	must(t, err)
	_, err = st.DropBefore(17)
	must(t, errors.Join(err, st.Close()))
	check("the block is gone", nil, 16, after+40-16)
}

func checkWrite(t *testing.T, name string, got, want *Write) {
	t.Helper()
	switch {
	case want == nil || got == nil:
		if got != nil && want != nil || (got == nil) != (want == nil) {
			t.Errorf("%s: last written by %+v, want %+v", name, got, want)
		}
	case got.Height != want.Height || got.Hook != want.Hook || got.Index != want.Index || (got.Hook == "") != (got.ID != chain.Hash{}):
		t.Errorf("%s: last written by %+v, want %+v", name, got, want)
	}
}

// TestVerifyNamesReceipt: events are in the receipts root and not in the state.
func TestVerifyNamesReceipt(t *testing.T) {
	dir := builtChain(t, 10, 10)
	d := deps()
	d.Program = wrong{from: 7, execute: func(_ stf.State, tx *stf.Tx, out *stf.Outcome) {
		if bytes.HasPrefix(tx.Raw, []byte("set same")) {
			out.Events = append(out.Events, []byte{9})
		}
	}}
	r, err := VerifyRange(within(t), dir, d, VerifyOptions{From: 1})
	var m *stf.Mismatch
	if !errors.As(err, &m) || m.Field != "receipts_root" {
		t.Fatal(err)
	}
	v := r.Verdicts[len(r.Verdicts)-1]
	if v.Height != 7 || v.Why == nil || v.Why.Key != nil || v.Why.Receipt == nil {
		t.Fatalf("%+v", v)
	}
	if d := v.Why.Receipt; d.Index != 1 || d.Stored.ID != d.Recomputed.ID || len(d.Recomputed.Events) != len(d.Stored.Events)+1 {
		t.Errorf("%+v", d)
	}
}

// TestExportWitness: any stored block can be exported, and its witness needs no
// directory.
func TestExportWitness(t *testing.T) {
	dir := builtChain(t, 20, 10)
	for _, height := range []uint64{1, 10, 11, 20} {
		w, err := ExportWitness(within(t), dir, deps(), height, nil)
		must(t, err)
		got, r, err := VerifyWitness(w.Append(nil), deps())
		if err != nil || r.Header.Height != height || got.Block.Header != w.Block.Header {
			t.Errorf("block %d: %+v, %v", height, r, err)
		}
	}
	for _, height := range []uint64{0, 1 << 40} {
		if _, err := ExportWitness(within(t), dir, deps(), height, nil); err == nil || errors.Is(err, ErrVerification) {
			t.Errorf("block %d: %v", height, err)
		}
	}
	w, err := ExportWitness(within(t), dir, deps(), 5, nil)
	must(t, err)
	b := w.Append(nil)
	b[len(b)/2] ^= 1
	if _, _, err := VerifyWitness(b, deps()); !errors.Is(err, ErrVerification) || !errors.Is(err, witness.ErrChecksum) {
		t.Errorf("a flipped bit: %v", err)
	}
	d := deps()
	d.Program = wrong{from: 5, end: func(st stf.State) { st.Set([]byte("same"), []byte("drifted")) }}
	if _, err := ExportWitness(within(t), dir, d, 5, nil); !errors.Is(err, ErrVerification) || !errors.Is(err, witness.ErrInvalid) {
		t.Errorf("by another machine: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	again, err := ExportWitness(within(t), dir, deps(), 15, nil)
	must(t, err)
	if _, _, err := VerifyWitness(again.Append(nil), deps()); err != nil {
		t.Errorf("from genesis: %v", err)
	}
	if sum := sha256.Sum256(again.Append(nil)); sum == sha256.Sum256(w.Append(nil)) {
		t.Error("two blocks have one witness")
	}
}
