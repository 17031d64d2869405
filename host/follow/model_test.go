package follow_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
)

// dice decides everything that is left to chance; n is at least 1.
type dice func(n int) int

// TestModel is R-06 and S-02 at random: a source that reorganises, grows, loses
// data and moves its tips between any two calls, and a handler that fails now and
// then.
func TestModel(t *testing.T) {
	histories := 1500
	if testing.Short() {
		histories = 200
	}
	for seed := range histories {
		r := rand.New(rand.NewPCG(uint64(seed), 0))
		if err := play(r.IntN, 30); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func FuzzPass(f *testing.F) {
	f.Add([]byte{0})
	f.Add([]byte("a source that changes its mind between any two calls"))
	f.Add([]byte{255, 3, 200, 17, 4, 9, 250, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233})
	f.Fuzz(func(t *testing.T, data []byte) {
		i := 0
		d := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			i++
			return (int(data[i%len(data)]) + i/len(data)) % n
		}
		if err := play(d, 1+len(data)/8%30); err != nil {
			t.Fatal(err)
		}
	})
}

// play runs passes against a changing source, then two against a quiet one.
func play(d dice, passes int) error {
	m := &model{dice: d, fork: followtest.NewFork("a", 0), options: follow.Options{BatchSize: 1 + d(5)}}
	m.store = follow.NewMemoryTips(m.fork.ID(0).Hash)
	m.held = []chain.BlockID{m.fork.ID(0)}
	m.move()
	f, err := follow.New(m, m.store, m, m.options)
	if err != nil {
		return err
	}
	for range passes {
		if err := m.pass(f); err != nil {
			return err
		}
	}
	m.quiet = true
	for range 2 {
		if err := m.pass(f); err != nil {
			return fmt.Errorf("quiet source: %w", err)
		}
	}
	return m.converged()
}

// model is a source, a handler, and the judge of both.
type model struct {
	dice
	options follow.Options
	fork    *followtest.Fork
	forks   int
	tips    [4]uint64 // proposed, checkpointed, proven, finalized
	quiet   bool

	store    *follow.MemoryTips
	held     []chain.BlockID // what the events delivered, by height
	final    uint64          // highest finalized announced
	readings []chain.Tips
	order    int // rank of the last event of this pass
	broken   error
}

// move lets the source do something.
func (m *model) move() {
	p, f := m.tips[0], m.tips[3]
	switch {
	case m.quiet:
		return
	case m.dice(4) == 0 && p > f: // a reorg somewhere above finalized
		m.forks++
		from := f + 1 + uint64(m.dice(int(p-f)))
		p = from - 1 + uint64(m.dice(6))
		m.fork = m.fork.Branch(fmt.Sprint("fork", m.forks), from, max(p, from))
	default:
		p += uint64(m.dice(7))
		m.fork.Extend(fmt.Sprint("fork", m.forks), p)
	}
	m.tips[0] = p
	m.tips[3] = f + uint64(m.dice(int(min(p-f, 3))+1)) // finalized only goes up
	m.tips[2] = m.tips[3] + uint64(m.dice(int(p-m.tips[3])+1))
	m.tips[1] = m.tips[2] + uint64(m.dice(int(p-m.tips[2])+1))
}

// sometimes moves the source and reports whether this read fails.
func (m *model) sometimes() bool {
	for moves := 0; !m.quiet && moves < 3 && m.dice(3) == 0; moves++ {
		m.move()
	}
	return !m.quiet && m.dice(40) == 0
}

var errModel = errors.New("chance")

func (m *model) Tips() (chain.Tips, error) {
	if m.sometimes() {
		return chain.Tips{}, errModel
	}
	t := m.fork.Tips(m.tips[0], m.tips[1], m.tips[2], m.tips[3])
	m.readings = append(m.readings, t)
	return t, nil
}

func (m *model) Blocks(from uint64, limit int) ([]*chain.Block, error) {
	if m.sometimes() {
		return nil, errModel
	}
	last := min(from+uint64(limit)-1, m.tips[0])
	if from > last || !m.quiet && m.dice(20) == 0 {
		return nil, nil
	}
	return m.fork.Blocks(from, from+uint64(m.dice(int(last-from+1)))), nil // fewer than asked for are fine
}

func (m *model) BlockData(n uint64) (chain.Header, error) {
	if m.sometimes() {
		return chain.Header{}, errModel
	}
	if n > m.tips[0] || !m.quiet && m.dice(40) == 0 {
		return chain.Header{}, follow.ErrNotAvailable
	}
	return m.fork.Block(n).Header, nil
}

func (m *model) pass(f *follow.Follower) error {
	m.readings, m.order = nil, 0
	var ride *chain.Block
	if m.dice(2) == 0 {
		ride = m.fork.Block(m.tips[0])
	}
	_, err := f.Pass(ride)
	var fork *follow.FinalizedForkError
	var genesis *follow.GenesisError
	switch {
	case m.broken != nil:
		return m.broken
	case errors.As(err, &fork) || errors.As(err, &genesis):
		return fmt.Errorf("a source that keeps its finalized blocks was refused: %w", err)
	case err == nil:
		return m.complete()
	case m.quiet:
		return err
	}
	return nil
}

// complete checks what holds after every pass that ended well.
func (m *model) complete() error {
	got, _ := m.store.Tips()
	if want := m.readings[len(m.readings)-1]; got != want {
		return fmt.Errorf("after a good pass the store has\n%+v\nthe reading was\n%+v", got, want)
	}
	if got.Checkpointed.Block.Number > got.Proposed.Number {
		return fmt.Errorf("checkpointed %d above proposed %d", got.Checkpointed.Block.Number, got.Proposed.Number)
	}
	return nil
}

func (m *model) converged() error {
	for n, id := range m.held {
		if want := m.fork.ID(uint64(n)); id != want {
			return fmt.Errorf("block %d is %s, the source has %s", n, id.Hash, want.Hash)
		}
	}
	got, _ := m.store.Tips()
	if want := m.fork.Tips(m.tips[0], m.tips[1], m.tips[2], m.tips[3]); got != want {
		return fmt.Errorf("the store has\n%+v\nthe source\n%+v", got, want)
	}
	return nil
}

func (m *model) Handle(e follow.Event) error {
	if !m.quiet && m.dice(30) == 0 {
		return errModel
	}
	if err := m.judge(e); err != nil && m.broken == nil {
		m.broken = fmt.Errorf("%s: %w", e, err)
	}
	return m.store.Apply(e)
}

// judge checks an event against everything that was delivered before.
func (m *model) judge(e follow.Event) error {
	if err := m.inOrder(e); err != nil {
		return err
	}
	switch e := e.(type) {
	case follow.BlocksAdded:
		return m.add(e.Blocks)
	case follow.ChainPruned:
		if e.Target.Number < m.final {
			return fmt.Errorf("prune below finalized %d", m.final)
		}
		if e.Target.Number+1 >= uint64(len(m.held)) || m.held[e.Target.Number] != e.Target {
			return fmt.Errorf("prune to a block that is not held: the last is %v", fmt.Sprint(m.held[e.Target.Number], m.final, m.readings))
		}
		m.held = m.held[:e.Target.Number+1]
	case follow.ChainProposed:
		if e.Header.ID() != e.Block || e.Block != m.held[len(m.held)-1] {
			return fmt.Errorf("proposed is not the last block held")
		}
	case follow.ChainCheckpointed:
		return m.tier(e.Tip, func(t chain.Tips) chain.TipID { return t.Checkpointed })
	case follow.ChainProven:
		return m.tier(e.Tip, func(t chain.Tips) chain.TipID { return t.Proven })
	case follow.ChainFinalized:
		if e.Tip.Block.Number < m.final {
			return fmt.Errorf("finalized went down from %d", m.final)
		}
		m.final = e.Tip.Block.Number
		return m.tier(e.Tip, func(t chain.Tips) chain.TipID { return t.Finalized })
	}
	return nil
}

// inOrder checks S-08, S-05 and, before the event is applied, S-02.
func (m *model) inOrder(e follow.Event) error {
	rank := 0
	switch e.(type) {
	case follow.ChainPruned:
		rank = 1
	case follow.BlocksAdded:
		rank = 2
	case follow.ChainProposed:
		rank = 3
	case follow.ChainCheckpointed:
		rank = 4
	case follow.ChainProven:
		rank = 5
	case follow.ChainFinalized:
		rank = 6
	}
	if rank < m.order || rank == m.order && rank != 2 {
		return fmt.Errorf("out of order, or a second one in this pass")
	}
	m.order = rank
	t, _ := m.store.Tips()
	if c, v, f := t.Checkpointed.Block.Number, t.Proven.Block.Number, t.Finalized.Block.Number; f > v || v > c {
		return fmt.Errorf("store is at finalized %d, proven %d, checkpointed %d", f, v, c)
	}
	return nil
}

func (m *model) add(blocks []*chain.Block) error {
	if len(blocks) > m.options.BatchSize {
		return fmt.Errorf("%d blocks, batch size %d", len(blocks), m.options.BatchSize)
	}
	for _, b := range blocks {
		last := m.held[len(m.held)-1]
		if b.Header.Height != last.Number+1 || b.Header.Parent != last.Hash {
			return fmt.Errorf("block %d does not follow %d", b.Header.Height, last.Number)
		}
		m.held = append(m.held, b.Header.ID())
	}
	return nil
}

// tier checks S-09 and S-26: the tip is of the last reading, and of a block that
// was delivered.
func (m *model) tier(tip chain.TipID, of func(chain.Tips) chain.TipID) error {
	if want := of(m.readings[len(m.readings)-1]); tip != want {
		return fmt.Errorf("is not of the last reading")
	}
	if n := tip.Block.Number; n >= uint64(len(m.held)) || m.held[n] != tip.Block {
		return fmt.Errorf("its block was not delivered")
	}
	return nil
}
