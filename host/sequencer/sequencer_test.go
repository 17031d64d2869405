package sequencer_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/sequencer"
	"github.com/kaizenchain/kaizen/host/state"
	"github.com/kaizenchain/kaizen/host/stf"
)

// world drains a core the way host/node does, with a map for the committed state
// and lists for everything that leaves.
type world struct {
	t       *testing.T
	core    *sequencer.Core
	base    mapState
	parent  chain.Header
	journal []sequencer.Record
	answers []sequencer.Answer
	blocks  []chain.Header
	bodies  []*stf.Closed
	held    []*stf.Closed // sealed and not committed, if hold
	hold    bool
}

type mapState map[string][]byte

func (m mapState) Get(key []byte) ([]byte, bool) { v, ok := m[string(key)]; return v, ok }

func newWorld(t *testing.T, maxTxs int) *world {
	t.Helper()
	exec, err := stf.NewExecutor(hosttest.Script{})
	if err != nil {
		t.Fatal(err)
	}
	genesis := chain.Header{Version: chain.BlockVersion, ChainID: 1, Time: 1000, ModuleHash: hosttest.ScriptHash}
	w := &world{t: t, base: mapState{}, parent: genesis}
	w.core = sequencer.New(sequencer.Config{MaxTxs: maxTxs}, exec, &genesis, w.base)
	return w
}

func (w *world) drain() {
	rd := w.core.Ready()
	w.core.Advance()
	w.journal = append(w.journal, rd.Journal...)
	w.answers = append(w.answers, rd.Answers...)
	w.held = append(w.held, rd.Sealed...)
	if !w.hold {
		w.commitAll()
	}
}

// commitAll does what the sealer does, with a hash of the sorted state as root.
func (w *world) commitAll() {
	for _, c := range w.held {
		for _, ch := range c.Overlay.Changes() {
			if ch.Delete {
				delete(w.base, string(ch.Key))
			} else {
				w.base[string(ch.Key)] = ch.Value
			}
		}
		h := c.Header(&w.parent, chain.LeafHash(fmt.Append(nil, map[string][]byte(w.base)))) // fmt sorts map keys
		w.blocks, w.bodies, w.parent = append(w.blocks, h), append(w.bodies, c), h
		w.core.Committed(c.Height)
	}
	w.held = nil
}

func (w *world) tick(now uint64, oracle ...chain.OracleSnapshot) bool {
	w.t.Helper()
	sealed, err := w.core.Tick(now, append(oracle, chain.OracleSnapshot{})[0])
	if err != nil {
		w.t.Fatal(err)
	}
	w.drain()
	return sealed
}

func (w *world) submit(now uint64, line string) *sequencer.Answer {
	w.t.Helper()
	if err := w.core.Submit(now, inspected(line), len(w.answers)); err != nil {
		w.t.Fatal(err)
	}
	w.drain()
	return &w.answers[len(w.answers)-1]
}

func inspected(line string) *stf.Tx {
	tx := &stf.Tx{Raw: []byte(line)}
	in, _ := hosttest.Script{}.NewInspector()
	if err := in.Inspect(tx); err != nil {
		panic(err)
	}
	return tx
}

// K-01: a transaction is executed when it arrives; no tick is needed for its
// result or for its effect in the pending view.
func TestExecutesOnArrival(t *testing.T) {
	w := newWorld(t, 10)
	w.tick(1100)
	a := w.submit(1101, "set colour red")
	if a.Receipt == nil || a.Receipt.Code != 0 || a.Height != 1 || a.Index != 0 {
		t.Fatalf("answer %+v", a)
	}
	if v, _ := w.core.Open().View().Get([]byte("colour")); string(v) != "red" {
		t.Fatalf("pending value %q", v)
	}
	if len(w.blocks) != 0 {
		t.Fatalf("%d blocks without a tick", len(w.blocks))
	}
}

// K-02: order in the block is the order of submission.
func TestOrderIsArrival(t *testing.T) {
	w := newWorld(t, 1000)
	w.tick(1100)
	for i := range 500 {
		if a := w.submit(1101, fmt.Sprintf("set k%d %d", i%7, i)); a.Index != i {
			t.Fatalf("transaction %d has index %d", i, a.Index)
		}
	}
	w.tick(1200)
	for i, raw := range w.bodies[0].Txs() {
		if want := fmt.Sprintf("set k%d %d", i%7, i); string(raw) != want {
			t.Fatalf("transaction %d is %q, want %q", i, raw, want)
		}
	}
}

// K-04 and section 6, item 3: a block for every interval, empty ones too.
func TestEveryTickSeals(t *testing.T) {
	w := newWorld(t, 10)
	for i := range 51 {
		w.tick(1100 + uint64(i)*100)
	}
	if len(w.blocks) != 50 {
		t.Fatalf("%d blocks after 50 intervals", len(w.blocks))
	}
	for i, h := range w.blocks {
		if h.Height != uint64(i+1) || h.Time != 1100+uint64(i)*100 {
			t.Fatalf("block %d has height %d, time %d", i+1, h.Height, h.Time)
		}
	}
}

// K-05 and section 6, item 2: a full block is sealed at once, under the same
// snapshot, and intake goes on.
func TestFullBlockIsSealedAtOnce(t *testing.T) {
	w := newWorld(t, 1000)
	oracle := chain.OracleSnapshot{Timestamp: 1090}
	w.tick(1100, oracle)
	for i := range 2500 {
		w.submit(1101, fmt.Sprintf("set k %d", i))
	}
	w.tick(1200, chain.OracleSnapshot{Timestamp: 1190})
	w.tick(1300)
	for i, want := range []int{1000, 1000, 500} {
		b := w.bodies[i]
		if len(b.Txs()) != want || !reflect.DeepEqual(b.Oracle, oracle) {
			t.Fatalf("block %d has %d transactions, want %d; oracle %+v", i+1, len(b.Txs()), want, b.Oracle)
		}
	}
	if got := w.bodies[3].Oracle.Timestamp; got != 1190 {
		t.Fatalf("the block after the tick has oracle %d", got)
	}
}

// A block also ends when its bytes would pass the limit that fits a sync frame.
func TestBlockBytesAreBounded(t *testing.T) {
	w := newWorld(t, chain.MaxBlockTxs)
	w.tick(1100)
	long := bytes.Repeat([]byte("v"), 16_000)
	for i := range 400 {
		w.submit(1101, fmt.Sprintf("set k%d %s", i, long))
	}
	w.tick(1200)
	for i, h := range w.blocks {
		b := chain.Block{Header: h, Oracle: w.bodies[i].Oracle, Txs: w.bodies[i].Txs()}
		if n := b.Size(); n > chain.MaxBlockBytes {
			t.Fatalf("block %d has %d bytes, limit %d", h.Height, n, chain.MaxBlockBytes)
		}
	}
	if len(w.blocks) < 3 {
		t.Fatalf("%d blocks for 6.4 MB", len(w.blocks))
	}
}

// So are its results: a transaction of many events counts for what it emits.
func TestBlockResultsAreBounded(t *testing.T) {
	w := newWorld(t, chain.MaxBlockTxs)
	w.tick(1100)
	for i := range 80 {
		w.submit(1101, fmt.Sprintf("emit 255 4096 %d", i))
	}
	w.tick(1200)
	for _, b := range w.bodies {
		if n := len(b.Results.Append(nil)); n > chain.MaxBlockResultBytes+2<<20 {
			t.Fatalf("block %d has results of %d bytes", b.Height, n)
		}
	}
	if len(w.bodies) < 3 {
		t.Fatalf("%d blocks for 80 MB of events", len(w.bodies))
	}
}

// K-06: what is pulled while block 5 closes belongs to block 6.
func TestBlockCarriesSnapshotInForceAtItsStart(t *testing.T) {
	w := newWorld(t, 10)
	for h := range uint64(4) {
		w.tick(1100+h*100, chain.OracleSnapshot{Timestamp: h})
	}
	w.tick(1500, chain.OracleSnapshot{Timestamp: 51}) // opens 5
	w.submit(1501, "set a b")
	w.tick(1600, chain.OracleSnapshot{Timestamp: 52}) // closes 5, opens 6
	w.tick(1700)
	if five, six := w.bodies[4].Oracle.Timestamp, w.bodies[5].Oracle.Timestamp; five != 51 || six != 52 {
		t.Fatalf("block 5 has %d, block 6 has %d", five, six)
	}
}

// Block time strictly increases, whatever the clock does.
func TestTimeIncreasesWhenTheClockDoesNot(t *testing.T) {
	w := newWorld(t, 2)
	for _, now := range []uint64{1100, 1100, 1050, 0, 900} {
		w.tick(now)
		w.submit(now, fmt.Sprintf("set a %d", len(w.answers)))
		w.submit(now, fmt.Sprintf("set a %d", len(w.answers)))
	}
	last := uint64(1000)
	for _, h := range w.blocks {
		if h.Time <= last {
			t.Fatalf("block %d at %d after %d", h.Height, h.Time, last)
		}
		last = h.Time
	}
}

// What is refused is in no block, not in the journal, and leaves no trace in the
// module's memory either: the writer that saw it and a node that did not agree.
func TestRefusedLeavesNoTrace(t *testing.T) {
	saw, not := newWorld(t, 100), newWorld(t, 100)
	for _, w := range []*world{saw, not} {
		w.tick(1100)
		for i, line := range []string{"set a 1", "refuse", "set b 2", "late", "bad", "late", "keep c", "late", "count d", "set a 1"} {
			refused := i == 1 || line == "late" || line == "bad" || i == 9
			if w == not && refused {
				continue
			}
			if a := w.submit(1101, line); (a.Refusal != nil) != refused {
				t.Fatalf("%d %s: answer %+v", i, line, a)
			}
		}
		w.tick(1200)
	}
	if saw.blocks[0].Hash() != not.blocks[0].Hash() {
		t.Fatalf("blocks differ: %+v\n%+v", saw.base, not.base)
	}
	if got := string(saw.base["d"]); got != "4" {
		t.Fatalf("the module counted %s calls", got)
	}
	if len(saw.journal) != len(not.journal) {
		t.Fatalf("journals have %d and %d records", len(saw.journal), len(not.journal))
	}
}

// A failed transaction is in the block and changes nothing but what it wrote
// before accept.
func TestFailedTransaction(t *testing.T) {
	w := newWorld(t, 100)
	w.tick(1100)
	for _, line := range []string{"fail x", "keep y", "trap"} {
		if a := w.submit(1101, line); a.Receipt == nil || a.Receipt.Code == 0 || len(a.Receipt.Events) != 0 {
			t.Fatalf("%s: answer %+v", line, a)
		}
	}
	w.tick(1200)
	if _, there := w.base["x"]; there || string(w.base["y"]) != "kept" || len(w.bodies[0].Txs()) != 3 {
		t.Fatalf("x written: %v, y %q, %d transactions", there, w.base["y"], len(w.bodies[0].Txs()))
	}
}

// A trap in a block hook stops the writer before anything is sealed.
func TestHookTrapStopsBeforeSealing(t *testing.T) {
	w := newWorld(t, 100)
	w.tick(1100)
	w.submit(1101, "end trap")
	_, err := w.core.Tick(1200, chain.OracleSnapshot{})
	var hook *stf.HookError
	if !errors.As(err, &hook) || hook.Height != 1 {
		t.Fatalf("error %v", err)
	}
	if rd := w.core.Ready(); len(rd.Sealed) != 0 {
		t.Fatalf("sealed %d blocks", len(rd.Sealed))
	}
}

// The writer's brake: at MaxUncommitted blocks without a root, ticks are
// postponed and a full block takes nothing; one commit lets go.
func TestBrake(t *testing.T) {
	w := newWorld(t, 1)
	w.hold = true
	w.tick(1100)
	n := 0
	for w.core.Accepts(10) {
		w.submit(1101, fmt.Sprintf("set k%d v", n))
		n++
	}
	if n != sequencer.MaxUncommitted+1 || len(w.held) != sequencer.MaxUncommitted {
		t.Fatalf("took %d transactions, %d blocks wait", n, len(w.held))
	}
	if w.tick(1200) {
		t.Fatal("a tick sealed one more")
	}
	if v, ok := w.core.Open().View().Get([]byte("k0")); !ok || string(v) != "v" {
		t.Fatalf("k0 through %d overlays is %q", len(w.held), v)
	}
	full := w.core.Open().Height()
	w.commitAll()
	if sealed, err := w.core.SealFull(1250); !sealed || err != nil || w.core.Open().Height() != full+1 {
		t.Fatalf("the full block was not sealed when there was room: %v, %v", sealed, err)
	}
	w.drain()
	if sealed, err := w.core.SealFull(1250); sealed || err != nil {
		t.Fatalf("an empty block was sealed as full: %v, %v", sealed, err)
	}
	w.commitAll()
	if !w.core.Accepts(10) || !w.tick(1300) {
		t.Fatal("still stopped after the commits")
	}
	if v, ok := w.core.Open().View().Get([]byte("k0")); !ok || string(v) != "v" {
		t.Fatalf("k0 after the commits is %q", v)
	}
}

// TestRecoverFromEveryPrefix kills the writer after every journal record of a
// random history. Recovery builds the same sealed blocks, and continues to the
// same chain when given the rest.
func TestRecoverFromEveryPrefix(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	lines := []string{"set k%d a", "fail k%d", "keep k%d", "count k%d", "trap %d", "late %d", "refuse"}
	w := newWorld(t, 5)
	w.tick(1100, chain.OracleSnapshot{Timestamp: 1})
	for i := range 60 {
		if rng.IntN(6) == 0 {
			w.tick(1100+uint64(i), chain.OracleSnapshot{Timestamp: uint64(i)})
			continue
		}
		line := lines[rng.IntN(len(lines))]
		if line != "refuse" {
			line = fmt.Sprintf(line, i)
		}
		w.submit(1100+uint64(i), line)
	}
	for cut := range len(w.journal) + 1 {
		r := newWorld(t, 5)
		for i, record := range w.journal[:cut] {
			var tx *stf.Tx
			if record.Tx != nil {
				tx = inspected(string(record.Tx))
			}
			if err := r.core.Recover(record, tx); err != nil {
				t.Fatalf("cut %d record %d: %v", cut, i, err)
			}
			r.drain()
		}
		if len(r.journal) != 0 {
			t.Fatalf("cut %d: recovery journals again", cut)
		}
		for i, h := range r.blocks {
			if h.Hash() != w.blocks[i].Hash() {
				t.Fatalf("cut %d: block %d differs", cut, h.Height)
			}
		}
		if open := r.core.Open(); open != nil {
			if want := recordsOf(w.journal[:cut], open.Height()); open.Txs() != want {
				t.Fatalf("cut %d: open block has %d transactions, want %d", cut, open.Txs(), want)
			}
		}
	}
}

// recordsOf counts the transactions journaled for the block at height.
func recordsOf(journal []sequencer.Record, height uint64) (n int) {
	var open uint64
	for _, r := range journal {
		if r.Open != nil {
			open = r.Open.Height
		} else if open == height {
			n++
		}
	}
	return n
}

func TestRecoverRefusesAnotherChainsJournal(t *testing.T) {
	open := func(h, time uint64) sequencer.Record {
		return sequencer.Record{Open: &sequencer.OpenRecord{Height: h, Time: time}}
	}
	for _, c := range []struct {
		name    string
		records []sequencer.Record
	}{
		{"transaction first", []sequencer.Record{{Tx: []byte("set a b")}}},
		{"height skipped", []sequencer.Record{open(2, 1100)}},
		{"height repeated", []sequencer.Record{open(1, 1100), open(1, 1200)}},
		{"time back", []sequencer.Record{open(1, 1100), open(2, 1100)}},
		{"refused transaction", []sequencer.Record{open(1, 1100), {Tx: []byte("refuse")}}},
	} {
		w := newWorld(t, 5)
		var err error
		for _, r := range c.records {
			var tx *stf.Tx
			if r.Tx != nil {
				tx = inspected(string(r.Tx))
			}
			if err == nil {
				err = w.core.Recover(r, tx)
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
}

var _ stf.View = (*state.Overlay)(nil)
