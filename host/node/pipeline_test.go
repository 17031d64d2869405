package node

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/hosttest"
	"github.com/kaizenchain/kaizen/host/stf"
)

// relinked are blocks of which one is changed, and those after it follow it again:
// all are signed as they should be.
func relinked(blocks []*chain.Block, wrong int, change func(*chain.Header)) []*chain.Block {
	out := slices.Clone(blocks)
	for i := wrong; i < len(out); i++ {
		b := *out[i]
		if b.Header.Parent = out[i-1].Header.Hash(); i == wrong {
			change(&b.Header)
		}
		b.Header.Sign(testKey)
		out[i] = &b
	}
	return out
}

// TestPipelineFindsWhatIsWrongAtItsBlock: every block is executed before the one
// ahead of it is settled, and yet the error is that of the first that is wrong; what
// came before it is there, nothing of it or after it is, and nobody sees the state
// between.
func TestPipelineFindsWhatIsWrongAtItsBlock(t *testing.T) {
	g := testGenesis()
	const blocks = 12
	right := sealedChain(t, g, blocks)
	for _, c := range []struct {
		name  string
		wrong int // block; 0: none
		field string
		what  func(*chain.Header)
	}{
		{"nothing", 0, "", nil},
		{"state root of the first", 1, "state_root", func(h *chain.Header) { h.StateRoot[0]++ }},
		{"state root", 5, "state_root", func(h *chain.Header) { h.StateRoot[31]++ }},
		{"receipts root", 6, "receipts_root", func(h *chain.Header) { h.ReceiptsRoot[0]++ }},
		{"state root of the last", blocks, "state_root", func(h *chain.Header) { h.StateRoot[9]++ }},
	} {
		t.Run(c.name, func(t *testing.T) {
			chainOf := right
			if c.wrong > 0 {
				chainOf = relinked(right, c.wrong, c.what)
			}
			l, _ := testLedger(t, g, 4)
			run, done := testPipeline(t, l)
			err := run(chainOf[1:])
			last := uint64(len(chainOf) - 1)
			if c.wrong > 0 {
				last = uint64(c.wrong) - 1
				var of *blockError
				var m *stf.Mismatch
				if !errors.As(err, &of) || of.block.Header.Height != uint64(c.wrong) || !errors.As(err, &m) || m.Field != c.field || !errors.Is(damaged(err), ErrVerification) {
					t.Fatalf("error is %v", err)
				}
			} else {
				must(t, err)
			}
			if head := l.Head(); head != chainOf[last].Header || l.versions.Root() != head.StateRoot {
				t.Errorf("at block %d with root %s, want %s", head.Height, l.versions.Root(), chainOf[last].Describe())
			}
			if uint64(len(*done)) != last || !slices.IsSorted(*done) {
				t.Errorf("settled %v, want 1 to %d", *done, last)
			}
			must(t, run(right[last+1:])) // it goes on with what is right
		})
	}
}

// testPipeline runs blocks through a pipeline that settles none before the next one
// was executed, and lists those that were settled.
func testPipeline(t *testing.T, l *ledger) (run func([]*chain.Block) error, done *[]uint64) {
	exec, err := stf.NewExecutor(hosttest.Script{})
	must(t, err)
	inspect, err := newInspectors(hosttest.Script{}, 1, 64)
	must(t, err)
	t.Cleanup(inspect.close)
	done = new([]uint64)
	return func(blocks []*chain.Block) error {
		p := pipeline{ledger: l, exec: exec, settle: func(b *settling, alone func()) error {
			alone()
			return l.recommit(b, func() {
				if l.mu.TryRLock() {
					t.Error("the state of a block that is wrong can be read")
				}
			})
		}, done: func(b *settling) { *done = append(*done, b.block.Header.Height) }}
		for _, b := range blocks {
			if err := p.add(prepare(inspect, b, nil)); err != nil {
				return err
			}
		}
		return p.finish()
	}, done
}

// TestPipelineErrorOfTheEarlierBlockCounts: the state that a wrong block leaves may
// make anything of the next one, and that says nothing.
func TestPipelineErrorOfTheEarlierBlockCounts(t *testing.T) {
	g := testGenesis()
	right := sealedChain(t, g, 3)
	both := relinked(right, 2, func(h *chain.Header) { h.StateRoot[0]++ })
	both = relinked(both, 3, func(h *chain.Header) { h.OracleHash[0]++ })
	l, _ := testLedger(t, g, 4)
	run, _ := testPipeline(t, l)
	err := run(both[1:])
	var m *stf.Mismatch
	if !errors.As(err, &m) || m.Height != 2 {
		t.Errorf("error is %v, want that of block 2", err)
	}
}

// TestReplayOfABlockThatCannotBeRead: what is read before it is settled all the
// same.
func TestReplayOfABlockThatCannotBeRead(t *testing.T) {
	dir := builtChain(t, 6, 10)
	o, err := openOffline(dir, deps())
	must(t, err)
	defer o.close()
	unreadable := errors.New("cannot be read")
	blocks := ahead(context.Background(), o.inspect, func(yield func(storedBlock, error) bool) {
		for h := uint64(1); h <= 3; h++ {
			b, err := o.store.Block(h)
			must(t, err)
			if !yield(storedBlock{block: b}, nil) {
				return
			}
		}
		yield(storedBlock{}, unreadable)
	})
	if err := o.reexecute(o.exec, blocks, func(*settling) {}); !errors.Is(err, unreadable) || o.head.Height != 3 {
		t.Errorf("at block %d: %v", o.head.Height, err)
	}
}
