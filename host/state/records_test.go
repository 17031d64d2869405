package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
)

func TestSlotClasses(t *testing.T) {
	if slotUnits[numClasses-1] != maxSlot {
		t.Fatalf("slot classes end at %d units, the largest slot has %d", slotUnits[numClasses-1], maxSlot)
	}
	for units := 1; units <= maxSlot; units++ {
		got := slotUnits[classes[units]]
		if got < units || got > units+max(1, units/7) {
			t.Errorf("a record of %d units gets a slot of %d", units, got)
		}
		if n := pageUnits / got; pageUnits/n != got {
			t.Errorf("slots of %d units could have %d each: there are %d in a page", got, pageUnits/n, n)
		}
	}
	for value := 0; value <= MaxValueBytes; value += 7 {
		least := unitsFor(7, value)
		if got := room(7, value); got < least || got > least+max(1, least/7) {
			t.Fatalf("a value of %d bytes gets %d units, needs %d", value, got, least)
		}
	}
}

// checkRecords compares every slot with the tree, and what the writer counts with
// what there is.
func checkRecords(t *testing.T, tree *Tree) {
	t.Helper()
	s := &tree.records
	held := heldRecords(t, tree)
	units, free := 0, 0
	for n := range s.page {
		p, size := &s.page[n], len((*s.pages.Load())[n])/unitBytes
		none := n == 0 || slices.Contains(s.gone, uint32(n))
		if none != (size == 0) {
			t.Fatalf("page %d has %d units", n, size)
		}
		taken := 0
		switch {
		case none || p.class == alone:
			continue
		case p.class != blank:
			if taken = checkSlots(t, s, uint32(n), held); p.at == leaving {
				continue
			}
		}
		units += pageUnits
		free += pageUnits - taken
	}
	if units != s.units || free != s.free {
		t.Fatalf("pages of %d units, %d free, counted %d and %d", units, free, s.units, s.free)
	}
}

// checkSlots compares the slots of a page with the records, and returns the units of
// those that are taken.
func checkSlots(t *testing.T, s *records, n uint32, held map[uint32]bool) int {
	t.Helper()
	p, units, taken := &s.page[n], slotUnits[s.page[n].class], 0
	for slot := range slotsOf(p.class) {
		record := held[n*pageUnits+uint32(slot*units)]
		if marked := p.used[slot/64]>>(slot%64)&1 == 1; marked != record {
			t.Fatalf("slot %d of page %d: taken %t, has a record %t", slot, n, marked, record)
		}
		if record {
			taken++
		}
	}
	if taken != p.taken || taken == 0 {
		t.Fatalf("page %d has %d slots taken, it counts %d", n, taken, p.taken)
	}
	if p.at >= 0 && s.class[p.class].open[p.at] != n || p.at == full && taken < slotsOf(p.class) {
		t.Fatalf("page %d with %d slots taken is not where it is listed: %d", n, taken, p.at)
	}
	return taken * units
}

// heldRecords are those that the tree has, and those that rest.
func heldRecords(t *testing.T, tree *Tree) map[uint32]bool {
	held := map[uint32]bool{}
	tree.Ascend(chain.Hash{}, func(key, value []byte) bool {
		r, _ := tree.index.find(key, tagOf(key))
		if !bytes.Equal(tree.records.value(r), value) {
			t.Fatalf("key %q has another record by the index than in the tree", key)
		}
		held[r] = true
		return true
	})
	for _, r := range tree.records.released {
		if held[r] {
			t.Fatalf("record %d is in use, or released twice", r)
		}
		held[r] = true
	}
	return held
}

// checkWaste compares what a tree takes with the bounds of freeShare. resting is what
// newer batches may have released.
func checkWaste(t *testing.T, tree *Tree, resting int) {
	t.Helper()
	s := &tree.records
	need, have := 0, 0
	tree.Ascend(chain.Hash{}, func(key, value []byte) bool {
		need += unitsFor(len(key), len(value))
		return true
	})
	for _, p := range *s.pages.Load() {
		have += len(p) / unitBytes
	}
	// An eighth by the sizes of slots, another that is free.
	if most := need*4/3 + tree.Len() + (s.slack+pageUnits)*freeShare/(freeShare-1) + resting; have > most {
		t.Fatalf("%d keys need %d units and take %d, wanted at most %d", tree.Len(), need, have, most)
	}
	if most := tree.Len()*8/7 + 2*chunkNodes + resting; len(tree.nodes.chunks)*chunkNodes > most {
		t.Fatalf("%d keys take %d chunks of nodes, wanted at most %d nodes", tree.Len(), len(tree.nodes.chunks), most)
	}
	if slots := len(tree.index.table.Load().slots); slots > max(minSlots, 8*tree.Len()) {
		t.Fatalf("%d keys take %d slots of the index", tree.Len(), slots)
	}
}

// idle commits batches of nothing: then what was released has rested.
func idle(tree *Tree, batches int) {
	for range batches {
		tree.Commit(nil, nil)
	}
}

// TestWasteIsBounded: histories that leave as much behind as they can.
func TestWasteIsBounded(t *testing.T) {
	const keys = 12_000
	key := func(i int) []byte { return fmt.Append(nil, "key", i) }
	value := bytes.Repeat([]byte{'v'}, MaxValueBytes)
	set := func(tree *Tree, size func(i int) int) {
		for from := 0; from < keys; from += 2000 {
			o := NewOverlay(tree)
			for i := from; i < from+2000; i++ {
				if n := size(i); n >= 0 {
					o.Set(key(i), value[:n])
				} else {
					o.Delete(key(i))
				}
			}
			tree.Commit(o.Changes(), nil)
		}
	}
	fewer := func(big, small int) func(int) int {
		return func(i int) int {
			if i%40 == 0 {
				return big
			}
			return small
		}
	}
	for name, history := range map[string]func(*Tree){
		"all grow alike": func(tree *Tree) {
			for n := 40; n < 1000; n += 40 {
				set(tree, func(int) int { return n })
				checkWaste(t, tree, keys*(2*(n+80)/unitBytes)) // grown and moved, resting
			}
		},
		"some stay large": func(tree *Tree) {
			set(tree, func(int) int { return 1000 })
			set(tree, fewer(1000, 10))
		},
		"some stay": func(tree *Tree) {
			set(tree, func(int) int { return 700 })
			set(tree, fewer(700, -1))
		},
		"none stay": func(tree *Tree) {
			set(tree, func(int) int { return 700 })
			set(tree, func(int) int { return -1 })
		},
		"up and down": func(tree *Tree) {
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 8 {
				set(tree, func(int) int { return rng.IntN(100 + 2000*(i%2)) })
			}
		},
		"alone and not": func(tree *Tree) {
			set(tree, func(i int) int { return 6000 + i%4000 })
			set(tree, func(i int) int { return i % 100 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := NewTree()
			history(tree)
			idle(tree, 200)
			checkRecords(t, tree)
			checkArena(t, tree)
			checkWaste(t, tree, 0)
			built, err := Build(func(yield func(k, v []byte) bool) { tree.Ascend(chain.Hash{}, yield) })
			if err != nil || built.Root() != tree.Root() {
				t.Fatalf("root %s, the same keys built anew have %s, %v", tree.Root(), built.Root(), err)
			}
		})
	}
}

// TestTidyKeepsPace: a batch moves no more than is released, and still the free
// memory stays below its bound.
func TestTidyKeepsPace(t *testing.T) {
	const keys, size = 30_000, 300
	tree, rng := NewTree(), rand.New(rand.NewPCG(3, 3))
	value := make([]byte, size)
	o := NewOverlay(tree)
	for i := range keys {
		o.Set(fmt.Append(nil, i), value)
	}
	tree.Commit(o.Changes(), nil)
	order := rng.Perm(keys)
	const batch = 500
	for released := order; len(released) > batch; released = released[batch:] {
		o := NewOverlay(tree)
		for _, i := range released[:batch] {
			o.Delete(fmt.Append(nil, i))
		}
		resting := len(tree.records.released)
		tree.Commit(o.Changes(), nil)
		if moved := len(tree.records.released) - batch; moved > batch+minMoveUnits/room(5, size)+walkers {
			t.Fatalf("a batch of %d deletions moved %d records, the one before released %d", batch, moved, resting)
		}
		// Resting: the deletions of two batches, and as much that was moved.
		if s := &tree.records; s.free > s.units/freeShare+s.slack+4*batch*room(5, size)+pageUnits {
			t.Fatalf("%d units of %d are free", s.free, s.units)
		}
	}
	checkRecords(t, tree)
}

// restless is a tree that tolerates no free page.
func restless() *Tree {
	tree := NewTree()
	tree.records.slack = 0
	return tree
}

// TestMovesAgreeWithNaive: the tree of keys whose values grow and shrink is the one of
// the model, however records are moved.
func TestMovesAgreeWithNaive(t *testing.T) {
	const keys = 1500
	moved := 0
	for seed := range uint64(3) {
		tree, model, rng := restless(), naive{}, rand.New(rand.NewPCG(seed, 9))
		run := shuffled(rng)
		for round := range 12 {
			o := NewOverlay(tree)
			most := 1 << (4 + rng.IntN(9))
			for range rng.IntN(keys) {
				k := fmt.Sprint("key", rng.IntN(keys))
				if rng.IntN(4) == 0 {
					o.Delete([]byte(k))
					delete(model, k)
					continue
				}
				v := strings.Repeat(string(rune('a'+round)), rng.IntN(most))
				o.Set([]byte(k), []byte(v))
				model[k] = v
			}
			tree.Commit(o.Changes(), run)
			idle(tree, 1)
			moved += len(tree.records.released) // whatever rests now
			same(t, tree, model)
			checkArena(t, tree)
			checkRecords(t, tree)
		}
		sameGets(t, tree, model, keys+3)
		idle(tree, 3)
		same(t, tree, model)
	}
	if moved == 0 {
		t.Fatal("nothing was moved")
	}
}

// FuzzMoves makes any history of few large values, against the model.
func FuzzMoves(f *testing.F) {
	f.Add([]byte("\x00\x40\x01\x41\x02\x42\xff\xff\x00\x80\x01\x81\xff\xff\x02\x00"))
	f.Add(bytes.Repeat([]byte("\x07\xf0\x08\xe0\x09\xd0\xff\xff\x07\x00\x08\x00\x09\x00\xff\xff"), 8))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tree, model := restless(), naive{}
		o := NewOverlay(tree)
		for ; len(raw) >= 2; raw = raw[2:] {
			k, size := fmt.Sprint("key", raw[0]%64), int(raw[1])*40
			switch {
			case raw[0] == 0xff:
				tree.Commit(o.Changes(), nil)
				o = NewOverlay(tree)
			case size == 0:
				o.Delete([]byte(k))
				delete(model, k)
			default:
				v := strings.Repeat(string(rune(raw[0])), size)
				o.Set([]byte(k), []byte(v))
				model[k] = v
			}
		}
		tree.Commit(o.Changes(), nil)
		same(t, tree, model)
		sameGets(t, tree, model, 64)
		checkRecords(t, tree)
	})
}

// TestGetWhileRecordsMove is the concurrency of the package comment where records
// move: the executor reads keys outside the batch, finds each with its value, and
// may keep it until the next batch. Run it with -race.
func TestGetWhileRecordsMove(t *testing.T) {
	const keys, still = 6000, 2000 // the first of them never change
	tree, rng := restless(), rand.New(rand.NewPCG(6, 6))
	key := func(i int) []byte { return fmt.Append(nil, "key", i) }
	value := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 200+i%300) }
	o := NewOverlay(tree)
	for i := range keys {
		o.Set(key(i), value(i))
	}
	tree.Commit(o.Changes(), twoWorkers)
	start := map[uint32]bool{}
	for i := range still {
		r, _ := tree.index.find(key(i), tagOf(key(i)))
		start[r] = true
	}
	for round := range 20 {
		o := NewOverlay(tree)
		for range 1000 {
			if i := still + rng.IntN(keys-still); rng.IntN(3) == 0 {
				o.Delete(key(i))
			} else {
				o.Set(key(i), make([]byte, rng.IntN(700)))
			}
		}
		changes := o.Changes()
		var done atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			read := rand.New(rand.NewPCG(uint64(round), 7))
			kept := map[int][]byte{}
			for n := 0; n < 1000 || !done.Load(); n++ {
				i := read.IntN(still)
				got, ok := tree.Get(key(i))
				if !ok || !bytes.Equal(got, value(i)) {
					t.Errorf("round %d: key %d is %.20q, %t", round, i, got, ok)
					return
				}
				kept[i] = got
			}
			for i, got := range kept {
				if !bytes.Equal(got, value(i)) {
					t.Errorf("round %d: the value of key %d has changed to %.20q", round, i, got)
				}
			}
		})
		tree.Commit(changes, twoWorkers)
		done.Store(true)
		wg.Wait()
	}
	moved := 0
	for i := range still {
		if r, _ := tree.index.find(key(i), tagOf(key(i))); !start[r] {
			moved++
		}
	}
	if moved == 0 {
		t.Fatal("no record was moved")
	}
}
