package state

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is a state as a map, and every state it was in at a mark.
type model struct {
	now     map[string]string
	written map[string]bool
}

func (m model) clone() model {
	c := model{map[string]string{}, map[string]bool{}}
	for k, v := range m.now {
		c.now[k] = v
	}
	for k := range m.written {
		c.written[k] = true
	}
	return c
}

func (m model) check(t *testing.T, o *Overlay, keys int) {
	t.Helper()
	sameGets(t, o, m.now, keys)
	if o.Len() != len(m.written) {
		t.Fatalf("%d keys written, want %d", o.Len(), len(m.written))
	}
}

func TestOverlayAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		keys := []int{3, 30, 300}[seed%3]
		o, m := NewOverlay(nil), model{map[string]string{}, map[string]bool{}}
		for layer := range 3 {
			driveOverlay(t, rng, o, m, keys)
			if layer < 2 {
				o, m.written = NewOverlay(o), map[string]bool{}
			}
		}
	}
}

// driveOverlay writes, marks and reverts at random.
func driveOverlay(t *testing.T, rng *rand.Rand, o *Overlay, m model, keys int) {
	type mark struct {
		at    int
		state model
	}
	marks := []mark{{o.Mark(), m.clone()}}
	for range 1500 {
		k := fmt.Sprint("key", rng.IntN(keys))
		switch rng.IntN(12) {
		case 0:
			marks = append(marks, mark{o.Mark(), m.clone()})
		case 1:
			i := rng.IntN(len(marks))
			o.Revert(marks[i].at)
			back := marks[i].state.clone()
			clear(m.now)
			clear(m.written)
			for k, v := range back.now {
				m.now[k] = v
			}
			for k := range back.written {
				m.written[k] = true
			}
			marks = marks[:i+1]
		case 2, 3, 4:
			o.Delete([]byte(k))
			delete(m.now, k)
			m.written[k] = true
		default:
			v := strings.Repeat("v", rng.IntN(300))
			o.Set([]byte(k), []byte(v))
			m.now[k], m.written[k] = v, true
		}
		if rng.IntN(20) == 0 {
			m.check(t, o, keys+2)
		}
	}
	m.check(t, o, keys+2)
	checkChanges(t, o, m)
}

func checkChanges(t *testing.T, o *Overlay, m model) {
	t.Helper()
	changes := o.Changes()
	if len(changes) != len(m.written) {
		t.Fatalf("%d changes, want %d", len(changes), len(m.written))
	}
	for i, c := range changes {
		v, ok := m.now[string(c.Key)]
		if !m.written[string(c.Key)] || c.Delete == ok || string(c.Value) != v || c.Path != PathOf(c.Key) {
			t.Fatalf("change of %q to %.20q, delete %t; want %.20q, present %t", c.Key, c.Value, c.Delete, v, ok)
		}
		if i > 0 && comparePaths(&changes[i-1].Path, &c.Path) >= 0 {
			t.Fatalf("change %d is out of path order", i)
		}
	}
}

func TestOverlayCopies(t *testing.T) {
	o := NewOverlay(nil)
	key, value := []byte("key"), []byte("value")
	o.Set(key, value)
	old, _ := o.Get(key)
	key[0], value[0] = 'x', 'x'
	o.Set([]byte("key"), []byte("other"))
	if string(old) != "value" {
		t.Fatalf("a value that was read has become %q", old)
	}
	if got, ok := o.Get([]byte("key")); !ok || string(got) != "other" {
		t.Fatalf("got %q, %t", got, ok)
	}
	if _ = append(old, "overflow"...); o.Changes()[0].Value[0] != 'o' {
		t.Fatal("appending to a value reached the one after it")
	}
}

func TestOverlayTellsEmptyFromAbsent(t *testing.T) {
	o := NewOverlay(nil)
	o.Set([]byte("empty"), nil)
	if v, ok := o.Get([]byte("empty")); !ok || len(v) != 0 {
		t.Fatalf("got %q, %t", v, ok)
	}
	if _, ok := o.Get([]byte("absent")); ok {
		t.Fatal("an absent key is present")
	}
}

// TestSetParent is what happens at a seal: the block below is committed to the
// tree, and the open overlay goes on over that.
func TestSetParent(t *testing.T) {
	tree := NewTree()
	below := NewOverlay(tree)
	below.Set([]byte("a"), []byte("1"))
	below.Set([]byte("b"), []byte("2"))
	open := NewOverlay(below)
	open.Delete([]byte("b"))
	want := naive{"a": "1"}
	for _, v := range []View{open, below} {
		if got, ok := v.Get([]byte("a")); !ok || string(got) != "1" {
			t.Fatalf("got %q, %t", got, ok)
		}
	}
	tree.Commit(below.Changes(), nil)
	open.SetParent(tree)
	if got, ok := open.Get([]byte("a")); !ok || string(got) != "1" {
		t.Fatalf("got %q, %t", got, ok)
	}
	tree.Commit(open.Changes(), nil)
	same(t, tree, want)
}

func TestOverlayRefusesWrongMark(t *testing.T) {
	o := NewOverlay(nil)
	mustPanic(t, "a mark of the future", func() { o.Revert(1) })
	mustPanic(t, "a negative mark", func() { o.Revert(-1) })
}

// TestOverlayDoesNotAllocate: a hot key costs nothing but its share of the
// arena.
func TestOverlayDoesNotAllocate(t *testing.T) {
	o := NewOverlay(NewTree())
	key, absent, value := []byte("key"), []byte("absent"), make([]byte, 80)
	o.Set(key, value)
	o.log = slices.Grow(o.log, 2000)
	allocs := testing.AllocsPerRun(1000, func() {
		mark := o.Mark()
		o.Get(key)
		o.Get(absent)
		o.Set(key, value)
		o.Revert(mark)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}

// TestReserve: room that is too little, too much or asked for too late changes nothing, and
// with enough of it writes grow no table.
func TestReserve(t *testing.T) {
	for _, room := range []int{0, 1, 100, 1000} {
		o := NewOverlay(nil)
		o.Reserve(room, room)
		want := map[string]string{}
		for i := range 300 {
			key, value := fmt.Sprint("key", i%200), fmt.Sprint(i)
			mark := o.Mark()
			o.Set([]byte(key), []byte("reverted"))
			o.Revert(mark)
			o.Set([]byte(key), []byte(value))
			want[key] = value
			o.Reserve(1, 1) // too late
		}
		for key, value := range want {
			if got, ok := o.Get([]byte(key)); !ok || string(got) != value {
				t.Errorf("room for %d: %s is %q, %v, want %q", room, key, got, ok, value)
			}
		}
		if o.Len() != len(want) || len(o.Changes()) != len(want) {
			t.Errorf("room for %d: %d keys, want %d", room, o.Len(), len(want))
		}
		if room == 1000 && (cap(o.entries) != room || cap(o.log) != room) {
			t.Errorf("room for %d became %d and %d", room, cap(o.entries), cap(o.log))
		}
	}
}
