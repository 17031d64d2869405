package follow_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/follow"
	"github.com/kaizenchain/kaizen/host/follow/followtest"
	"github.com/kaizenchain/kaizen/host/hosttest"
)

// TestSourceNeedsThreeReads is R-18: the fakes of this package have no others.
func TestSourceNeedsThreeReads(t *testing.T) {
	if n := reflect.TypeFor[follow.Source]().NumMethod(); n != 3 {
		t.Fatalf("a source has %d reads, want 3 (S-23)", n)
	}
}

func archiveOf(f *followtest.Fork) *hosttest.Archive {
	a := &hosttest.Archive{}
	a.Append(f.Blocks(0, f.Tip())...)
	return a
}

func TestReadRange(t *testing.T) {
	f := followtest.NewFork("a", 9)
	a := archiveOf(f)
	size := f.Block(1).Size()
	for _, c := range []struct {
		name            string
		from            uint64
		limit, maxBytes int
		want            int
	}{
		{"all that was asked for", 3, 4, 1 << 20, 4},
		{"not above the tip", 7, 50, 1 << 20, 3},
		{"as many as fit", 1, 9, 3*size + 1, 3},
		{"one, whatever its size", 1, 9, 1, 1},
		{"above the tip", 10, 1, 1 << 20, 0},
		{"nothing was asked for", 1, 0, 1 << 20, 0},
		{"a negative limit", 1, -1, 1 << 20, 0},
		{"numbers at the edge", ^uint64(0), 1, 1 << 20, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := follow.ReadRange(a, c.from, c.limit, c.maxBytes)
			if len(got) != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.Is(err, follow.ErrNotAvailable) {
				t.Fatalf("%d blocks, %v, want %d", len(got), err, c.want)
			}
			blocks, err := follow.DecodeRange(got)
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range blocks {
				if b.Header.ID() != f.ID(c.from+uint64(i)) {
					t.Fatalf("number %d is block %d", i, b.Header.Height)
				}
			}
		})
	}
}

// behind is an archive that has stored more than it may serve.
type behind struct {
	*hosttest.Archive
	tips chain.Tips
}

func (b behind) Tips() (chain.Tips, error) { return b.tips, nil }

// TestServesNothingAboveItsTip: what is stored but not yet published stays here
// (invariants 2 and 12).
func TestServesNothingAboveItsTip(t *testing.T) {
	f := followtest.NewFork("a", 9)
	a := behind{archiveOf(f), f.Tips(6, 6, 6, 6)}
	if got, err := follow.ReadRange(a, 5, 10, 1<<20); len(got) != 2 || err != nil {
		t.Fatalf("%d blocks, %v, want 5 and 6", len(got), err)
	}
	if _, err := follow.ReadHeader(a, 7); !errors.Is(err, follow.ErrNotAvailable) {
		t.Fatalf("header above the tip: %v", err)
	}
	if h, err := follow.ReadHeader(a, 6); err != nil || h.ID() != f.ID(6) {
		t.Fatalf("header of the tip: %v", err)
	}
}

// TestOwnArchiveAsSource: the consumers inside a node follow its archive with the
// same pass.
func TestOwnArchiveAsSource(t *testing.T) {
	f := followtest.NewFork("a", 120)
	store := follow.NewMemoryTips(f.ID(0).Hash)
	follower, err := follow.New(archiveSource{archiveOf(f)}, store, handlerFunc(store.Apply), follow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	result, err := follower.Pass(nil)
	if err != nil || result.Blocks != 120 || result.Pruned {
		t.Fatalf("%+v, %v", result, err)
	}
	if tips, _ := store.Tips(); tips != chain.LocalTips(f.ID(120)) {
		t.Fatalf("tips are %+v", tips)
	}
}

// archiveSource answers from an archive as a node that is followed does.
type archiveSource struct{ follow.Archive }

func (s archiveSource) Blocks(from uint64, limit int) ([]*chain.Block, error) {
	encoded, err := follow.ReadRange(s.Archive, from, limit, chain.MaxBlockBytes)
	if err != nil {
		return nil, err
	}
	return follow.DecodeRange(encoded)
}

func (s archiveSource) BlockData(number uint64) (chain.Header, error) {
	return follow.ReadHeader(s.Archive, number)
}

type handlerFunc func(follow.Event) error

func (h handlerFunc) Handle(e follow.Event) error { return h(e) }

// TestBellKeepsTheNewestRide: of the blocks that came with doorbells during a
// pass, the next pass gets the newest.
func TestBellKeepsTheNewestRide(t *testing.T) {
	f := followtest.NewFork("a", 5)
	var b follow.Bell
	for _, n := range []uint64{3, 5, 4} {
		b.Ring(f.Block(n))
	}
	b.Ring(nil)
	if ride, ok := b.Begin(0); !ok || ride != f.Block(5) {
		t.Fatalf("the pass gets %v, %v", ride, ok)
	}
	b.Ring(nil)
	b.End(10)
	if ride, ok := b.Begin(10); !ok || ride != nil {
		t.Fatalf("the next pass gets %v, %v", ride, ok)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []follow.Options{{BatchSize: -1}, {BatchSize: follow.MaxBatchSize + 1}, {TipsOnly: true, StartingBlock: 1}} {
		if _, err := follow.New(nil, nil, nil, o); !errors.Is(err, follow.ErrOptions) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
