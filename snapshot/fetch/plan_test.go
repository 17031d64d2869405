package fetch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
)

// file is a snapshot of these tests: its manifest is JSON, its chunks are a few
// bytes.
type file struct {
	Name   string
	Height uint64
	Base   chain.Hash
	Forged bool // its block is not signed
	Chunks []fetch.Chunk

	content [][]byte
	cached  *fetch.Link
}

func content(seed string, n int) (chunks [][]byte) {
	for i := range n {
		h := sha256.Sum256(fmt.Appendf(nil, "%s %d", seed, i))
		chunks = append(chunks, bytes.Repeat(h[:], 1+i%3))
	}
	return chunks
}

func newFile(name string, height uint64, chunks int, base *file) *file {
	f := &file{Name: name, Height: height, content: content(name, chunks)}
	if base != nil {
		f.Base = base.link().Identity
	}
	for _, c := range f.content {
		f.Chunks = append(f.Chunks, fetch.Chunk{Bytes: uint32(len(c)), Hash: sha256.Sum256(c)})
	}
	return f
}

func (f *file) link() *fetch.Link {
	if f.cached == nil {
		b, _ := json.Marshal(f)
		f.cached, _ = open(b)
	}
	return f.cached
}

func (f *file) manifest() []byte { return f.link().Manifest }
func (f *file) hash() chain.Hash { return f.link().Hash }

func (f *file) offer() fetch.Offer { return f.link().Offer }

var errForged = errors.New("signature does not verify")

func open(b []byte) (*fetch.Link, error) {
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	hash := chain.Hash(sha256.Sum256(b))
	l := &fetch.Link{Name: f.Name, Manifest: b, Chunks: f.Chunks, Offer: fetch.Offer{Hash: hash, Identity: sha256.Sum256(append([]byte("identity"), f.Name...)),
		Base: f.Base, Block: chain.BlockID{Number: f.Height, Hash: sha256.Sum256([]byte(f.Name))}, ManifestBytes: uint32(len(b)), Chunks: uint32(len(f.Chunks))}}
	for _, c := range f.Chunks {
		l.Bytes += uint64(c.Bytes)
	}
	if f.Forged {
		return l, errForged
	}
	return l, nil
}

// node is a source: honest unless a hook says otherwise.
type node struct {
	name   string
	files  []*file
	offers func([]fetch.Offer) []fetch.Offer
	answer func(r fetch.Request, b []byte) ([]byte, error)
	reads  int
}

func (n *node) find(hash chain.Hash) *file {
	for _, f := range n.files {
		if f.hash() == hash {
			return f
		}
	}
	return nil
}

func (n *node) serve(r fetch.Request) (list []fetch.Offer, b []byte, err error) {
	n.reads++
	if r.Kind == fetch.List {
		for _, f := range n.files {
			list = append(list, f.offer())
		}
		if n.offers != nil {
			list = n.offers(list)
		}
		return list, nil, nil
	}
	f := n.find(r.Hash)
	switch {
	case f == nil:
		err = fetch.ErrNotAvailable
	case r.Kind == fetch.Manifest:
		b = f.manifest()
	default:
		b = f.content[r.Index]
	}
	if n.answer != nil {
		b, err = n.answer(r, b)
	}
	return nil, b, err
}

// run is a plan that is driven as host/node drives one, with answers in an order
// that the seed decides.
type run struct {
	t      *testing.T
	rand   *rand.Rand
	plan   *fetch.Plan
	nodes  []*node
	wish   fetch.Wish
	flight []asked
	disk   map[chain.Hash]map[uint32][]byte // by manifest and chunk
	wrote  int
	check  func(target []*fetch.Link) (hash chain.Hash, err error) // of headers and disk, before chunks
	state  func(target []*fetch.Link) (hash chain.Hash, err error) // of the restored state
	stop   int                                                     // after so many writes; 0: never
	lose   float64                                                 // how often a connection breaks
}

type asked struct {
	source int
	fetch.Request
}

func newRun(t *testing.T, seed uint64, nodes ...*node) *run {
	r := &run{t: t, rand: rand.New(rand.NewPCG(seed, 1)), nodes: nodes, disk: map[chain.Hash]map[uint32][]byte{}}
	r.restart()
	return r
}

// restart is a new process on the same disk.
func (r *run) restart() {
	var names []string
	for _, n := range r.nodes {
		names = append(names, n.name)
	}
	r.plan, r.flight = fetch.New(names, open), nil
	for _, n := range r.nodes {
		for _, f := range n.files {
			if have := r.disk[f.hash()]; len(have) > 0 {
				r.plan.Keep(f.link(), len(have) == len(f.Chunks))
			}
		}
	}
	for s := range r.nodes {
		r.plan.Up(s)
	}
}

// steps bounds a run.
const steps = 20_000

var (
	errNothing = errors.New("nobody offers a snapshot")
	errKilled  = errors.New("killed")
)

// drive runs until the state is there, or nothing can be got.
func (r *run) drive() ([]*fetch.Link, error) {
	r.t.Helper()
	for range steps {
		for s := range r.nodes {
			if q, ok := r.plan.Next(s); ok {
				r.flight = append(r.flight, asked{s, q})
			}
		}
		switch st := r.plan.Status(); {
		case st.Complete && st.Accepted:
			hash, err := r.judge(r.state, st.Target)
			if err == nil {
				return st.Target, nil
			}
			r.plan.Refuse(hash, err, true)
		case st.Target != nil && !st.Accepted:
			hash, err := r.judge(r.check, st.Target)
			if err != nil {
				r.plan.Refuse(hash, err, false)
			} else {
				r.plan.Accept()
			}
		case !st.Chosen && r.plan.Settled(), st.Stranded:
			if !r.plan.Choose(r.wish) && len(r.flight) == 0 {
				return nil, errNothing
			}
		}
		if l := r.plan.Current(); l != nil {
			r.open(l)
		}
		if len(r.flight) == 0 {
			continue
		}
		if r.stop > 0 && r.wrote >= r.stop {
			return nil, errKilled
		}
		i := r.rand.IntN(len(r.flight))
		a := r.flight[i]
		r.flight = slices.Delete(r.flight, i, i+1)
		r.answer(a)
	}
	r.t.Fatalf("not done after %d steps: %+v, %+v", steps, r.plan.Status(), r.plan.Sources())
	return nil, nil
}

func (r *run) judge(by func([]*fetch.Link) (chain.Hash, error), target []*fetch.Link) (chain.Hash, error) {
	if by == nil {
		return chain.Hash{}, nil
	}
	return by(target)
}

func (r *run) open(l *fetch.Link) {
	if r.disk[l.Hash] == nil {
		r.disk[l.Hash] = map[uint32][]byte{}
	}
	var missing []int
	for i := range l.Chunks {
		if _, ok := r.disk[l.Hash][uint32(i)]; !ok {
			missing = append(missing, i)
		}
	}
	r.plan.Open(l.Hash, missing)
}

func (r *run) answer(a asked) {
	if r.rand.Float64() < r.lose {
		r.plan.Lost(a.source, errors.New("connection ended"), r.rand.IntN(2) == 0)
		r.flight = slices.DeleteFunc(r.flight, func(b asked) bool { return b.source == a.source })
		r.plan.Up(a.source)
		return
	}
	list, b, err := r.nodes[a.source].serve(a.Request)
	switch {
	case errors.Is(err, fetch.ErrBusy):
		r.plan.Busy(a.source, a.Request)
	case errors.Is(err, fetch.ErrNotAvailable):
		_ = r.plan.Missing(a.source, a.Request)
	case a.Kind == fetch.List:
		_ = r.plan.Listed(a.source, a.Request, list)
	case a.Kind == fetch.Manifest:
		_, _ = r.plan.Manifest(a.source, a.Request, b)
	default:
		if keep, err := r.plan.Chunk(a.source, a.Request, b); err == nil && keep {
			r.disk[a.Hash][a.Index] = b
			r.wrote++
			r.plan.Kept(a.Request)
		}
	}
}

// holds checks that the target is on the disk, byte for byte.
func (r *run) holds(target []*fetch.Link, want ...*file) {
	r.t.Helper()
	if len(target) != len(want) {
		r.t.Fatalf("%d snapshots, want %d", len(target), len(want))
	}
	for i, f := range want {
		if target[i].Hash != f.hash() || target[i].Name != f.Name {
			r.t.Fatalf("snapshot %d is %s, want %s", i, target[i].Name, f.Name)
		}
		for j, c := range f.content {
			if !bytes.Equal(r.disk[f.hash()][uint32(j)], c) {
				r.t.Fatalf("chunk %d of %s is %x", j, f.Name, r.disk[f.hash()][uint32(j)])
			}
		}
	}
}

// fates names the sources that were dropped, with why.
func (r *run) fates() (dropped []string) {
	for _, s := range r.plan.Sources() {
		if s.Dropped {
			dropped = append(dropped, s.Name)
		}
	}
	return dropped
}

const seeds = 40

// TestFetch: whatever order answers come in, and however often connections break,
// the newest snapshot is fetched, from all sources, each chunk about once, and
// nobody is dropped.
func TestFetch(t *testing.T) {
	old, full := newFile("100", 100, 9, nil), newFile("200", 200, 40, nil)
	next := newFile("210", 210, 1, full)
	last := newFile("220", 220, 5, next)
	for seed := range uint64(seeds) {
		r := newRun(t, seed, &node{name: "a", files: []*file{last, next, full, old}}, &node{name: "b", files: []*file{full, old}}, &node{name: "c"}, &node{name: "d", files: []*file{old, next, last, full}})
		r.lose = float64(seed%4) / 20
		target, err := r.drive()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		r.holds(target, full, next, last)
		if got := r.fates(); got != nil {
			t.Fatalf("seed %d: dropped %v", seed, got)
		}
		if st := r.plan.Status(); st.Done != st.Total || st.Chunks != 46 || r.wrote != 46 {
			t.Fatalf("seed %d: %+v, %d writes", seed, st, r.wrote)
		}
		if r.lose == 0 && (r.nodes[1].reads < 8 || r.nodes[3].reads < 8) {
			t.Fatalf("seed %d: one source did it all: %d, %d, %d", seed, r.nodes[0].reads, r.nodes[1].reads, r.nodes[3].reads)
		}
	}
}

// TestResume: a fetch that ends at any chunk goes on from there, from whoever is
// there then.
func TestResume(t *testing.T) {
	full := newFile("200", 200, 12, nil)
	last := newFile("220", 220, 5, full)
	newer := newFile("300", 300, 3, nil)
	for stop := 1; stop < 17; stop++ {
		a, b := &node{name: "a", files: []*file{full, last}}, &node{name: "b", files: []*file{full, last, newer}}
		r := newRun(t, uint64(stop), a)
		r.stop = stop
		if _, err := r.drive(); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		r.nodes, r.stop = []*node{b}, 0 // a source that was not there before
		r.restart()
		target, err := r.drive()
		if err != nil {
			t.Fatal(err)
		}
		r.holds(target, full, last)
		if r.wrote != 17 {
			t.Errorf("stopped after %d chunks, and %d were written in all", stop, r.wrote)
		}
	}
}

// hostile is a world in which one source does something wrong.
type hostile struct {
	name string
	evil func(good *file) *node
	want error // of the source
}

func hostiles() []hostile {
	with := func(answer func(good *file, r fetch.Request, b []byte) ([]byte, error)) func(*file) *node {
		return func(good *file) *node {
			return &node{files: []*file{good}, answer: func(r fetch.Request, b []byte) ([]byte, error) { return answer(good, r, b) }}
		}
	}
	onChunk := func(change func(good *file, i uint32, b []byte) []byte) func(*file) *node {
		return with(func(good *file, r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind == fetch.File {
				return change(good, r.Index, b), nil
			}
			return b, nil
		})
	}
	offering := func(change func([]fetch.Offer) []fetch.Offer) func(*file) *node {
		return func(good *file) *node { return &node{files: []*file{good}, offers: change} }
	}
	first := func(change func(*fetch.Offer)) func(*file) *node {
		return offering(func(list []fetch.Offer) []fetch.Offer { change(&list[0]); return list })
	}
	return []hostile{
		{"flipped bit", onChunk(func(_ *file, _ uint32, b []byte) []byte { b = bytes.Clone(b); b[3] ^= 1; return b }), fetch.ErrChunkHash},
		{"short chunk", onChunk(func(_ *file, _ uint32, b []byte) []byte { return b[1:] }), fetch.ErrChunkSize},
		{"long chunk", onChunk(func(_ *file, _ uint32, b []byte) []byte { return append(bytes.Clone(b), 0) }), fetch.ErrChunkSize},
		{"empty chunk", onChunk(func(*file, uint32, []byte) []byte { return nil }), fetch.ErrChunkSize},
		{"swapped chunks", onChunk(func(good *file, i uint32, _ []byte) []byte { return good.content[(i+3)%uint32(len(good.content))] }), fetch.ErrChunkHash},
		{"the same chunk for ever", onChunk(func(good *file, _ uint32, _ []byte) []byte { return good.content[0] }), nil},
		{"chunks of another height", onChunk(func(_ *file, i uint32, _ []byte) []byte { return content("199", 40)[i] }), fetch.ErrChunkHash},
		{"garbage for a manifest", with(func(_ *file, r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind == fetch.Manifest {
				return []byte("garbage"), nil
			}
			return b, nil
		}), fetch.ErrManifest},
		{"another manifest", with(func(_ *file, r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind == fetch.Manifest {
				return newFile("201", 201, 1, nil).manifest(), nil
			}
			return b, nil
		}), fetch.ErrManifest},
		{"has nothing of what it offers", with(func(_ *file, r fetch.Request, b []byte) ([]byte, error) {
			if r.Kind != fetch.List {
				return nil, fetch.ErrNotAvailable
			}
			return b, nil
		}), fetch.ErrContradiction},
		{"one offer twice", offering(func(list []fetch.Offer) []fetch.Offer { return append(list, list[0]) }), fetch.ErrOffers},
		{"too many offers", offering(func(list []fetch.Offer) []fetch.Offer {
			for i := range fetch.MaxOffers {
				list = append(list, fetch.Offer{Hash: chain.Hash{9, byte(i), byte(i >> 8)}})
			}
			return list
		}), fetch.ErrOffers},
		{"more bytes than chunks can have", first(func(o *fetch.Offer) { o.Bytes = 1 << 62 }), fetch.ErrOffers},
		{"a manifest of gigabytes", first(func(o *fetch.Offer) { o.ManifestBytes = 1 << 31 }), fetch.ErrOffers},
		{"more chunks than there may be", first(func(o *fetch.Offer) { o.Chunks = 1 << 20 }), fetch.ErrOffers},
		{"lies about the height", first(func(o *fetch.Offer) { o.Block.Number += 1000 }), fetch.ErrOffer},
		{"lies about the block", first(func(o *fetch.Offer) { o.Block.Hash[0]++ }), fetch.ErrOffer},
		{"lies about the size", first(func(o *fetch.Offer) { o.Bytes -= 1 }), fetch.ErrOffer},
		{"lies about the identity", first(func(o *fetch.Offer) { o.Identity[5]++ }), fetch.ErrOffer},
		{"forged header, later than all", func(good *file) *node {
			forged := newFile("999", 999, 2, nil)
			forged.Forged = true
			return &node{files: []*file{forged}}
		}, errForged},
		{"false state under a true header", func(good *file) *node { return &node{files: []*file{newFile("false", 300, 4, nil)}} }, errRoot},
		{"false state on top of a true one", func(good *file) *node {
			return &node{files: []*file{good, newFile("false", 300, 4, good)}}
		}, errRoot},
	}
}

var errRoot = errors.New("state root differs")

// TestHostileSources: a source that lies is dropped and named with what it did, the
// honest ones are not, and what is fetched is right.
func TestHostileSources(t *testing.T) {
	for _, h := range hostiles() {
		t.Run(h.name, func(t *testing.T) {
			caught := 0
			for seed := range uint64(seeds) {
				good := newFile("200", 200, 40, nil)
				evil := h.evil(good)
				evil.name = "evil"
				r := newRun(t, seed, &node{name: "good", files: []*file{good}}, evil)
				r.lose = float64(seed%3) / 30
				r.state = func(target []*fetch.Link) (chain.Hash, error) {
					for _, l := range target {
						if l.Name == "false" {
							return l.Hash, fmt.Errorf("%w: %s", errRoot, l.Name)
						}
					}
					return chain.Hash{}, nil
				}
				target, err := r.drive()
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				r.holds(target, good)
				switch dropped := r.fates(); {
				case slices.Contains(dropped, "good"):
					t.Fatalf("seed %d: the honest source was dropped: %+v", seed, r.plan.Sources())
				case len(dropped) == 1:
					var lie *fetch.LieError
					if err := r.plan.Sources()[1].Err; h.want != nil && !errors.Is(err, h.want) || !errors.As(err, &lie) || lie.Source != "evil" || !strings.Contains(err.Error(), "source evil: ") {
						t.Fatalf("seed %d: it was dropped for %v, want %v", seed, err, h.want)
					}
					caught++
				}
			}
			// It may happen that the honest one is faster all the time.
			if caught == 0 {
				t.Errorf("caught in none of %d runs", seeds)
			}
		})
	}
}

// TestOnlyLiars: without an honest source there is an end, and each is named.
func TestOnlyLiars(t *testing.T) {
	for _, h := range hostiles() {
		if h.want == nil {
			continue
		}
		evil := h.evil(newFile("200", 200, 10, nil))
		evil.name = "evil"
		r := newRun(t, 1, evil)
		r.state = func(target []*fetch.Link) (chain.Hash, error) { return target[len(target)-1].Hash, errRoot }
		if _, err := r.drive(); !errors.Is(err, errNothing) {
			t.Errorf("%s: %v", h.name, err)
		}
		if s := r.plan.Sources()[0]; !s.Dropped || !errors.Is(s.Err, h.want) {
			t.Errorf("%s: %+v", h.name, s)
		}
	}
}

// TestChoice: what is begun, then the newest, then the signed, then what most have;
// a chain without its base is none.
func TestChoice(t *testing.T) {
	base := newFile("100", 100, 2, nil)
	top := newFile("150", 150, 1, base)
	plain, signed := newFile("120", 120, 1, nil), newFile("120 again", 120, 1, nil)
	sign := func(list []fetch.Offer) []fetch.Offer {
		for i := range list {
			list[i].Signed = list[i].Block.Hash == signed.offer().Block.Hash
		}
		return list
	}
	for name, c := range map[string]struct {
		nodes []*node
		wish  fetch.Wish
		disk  *file
		part  bool
		want  []*file
	}{
		"newest":                      {nodes: []*node{{files: []*file{base, plain}}}, want: []*file{plain}},
		"chain over two sources":      {nodes: []*node{{files: []*file{top}}, {files: []*file{base, plain}}}, want: []*file{base, top}},
		"base is nowhere":             {nodes: []*node{{files: []*file{top, plain}}}, want: []*file{plain}},
		"signed":                      {nodes: []*node{{files: []*file{plain}}, {files: []*file{plain}}, {files: []*file{signed}, offers: sign}}, want: []*file{signed}},
		"most":                        {nodes: []*node{{files: []*file{signed}}, {files: []*file{plain}}, {files: []*file{plain}}}, want: []*file{plain}},
		"no later than":               {nodes: []*node{{files: []*file{base, top, plain}}}, wish: fetch.Wish{AtMost: 119}, want: []*file{base}},
		"begun":                       {nodes: []*node{{files: []*file{base, plain}}}, disk: base, part: true, want: []*file{base}},
		"begun and gone":              {nodes: []*node{{files: []*file{plain}}}, disk: base, part: true, want: []*file{plain}},
		"whole":                       {nodes: []*node{{files: []*file{plain}}}, disk: base, want: []*file{base}},
		"whole, but newer is wanted":  {nodes: []*node{{files: []*file{plain}}}, disk: base, wish: fetch.Wish{Newest: true}, want: []*file{plain}},
		"whole, and nobody has any":   {nodes: []*node{{}}, disk: base, want: []*file{base}},
		"whole base of what is newer": {nodes: []*node{{files: []*file{top}}}, disk: base, wish: fetch.Wish{Newest: true}, want: []*file{base, top}},
		"nothing":                     {nodes: []*node{{}}},
		"all too late":                {nodes: []*node{{files: []*file{base, top}}}, wish: fetch.Wish{AtMost: 99}},
	} {
		t.Run(name, func(t *testing.T) {
			for i, n := range c.nodes {
				n.name = fmt.Sprint(i)
			}
			r := newRun(t, 1, c.nodes...)
			r.wish = c.wish
			if c.disk != nil {
				r.plan.Keep(c.disk.link(), !c.part)
				r.disk[c.disk.hash()] = map[uint32][]byte{}
				for i, b := range c.disk.content {
					r.disk[c.disk.hash()][uint32(i)] = b
				}
			}
			target, err := r.drive()
			if c.want == nil {
				if !errors.Is(err, errNothing) {
					t.Fatalf("%v, %v", target, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r.holds(target, c.want...)
		})
	}
}

// TestRefusedTarget: what the caller cannot use is not chosen again, without
// anybody being blamed.
func TestRefusedTarget(t *testing.T) {
	old, late := newFile("100", 100, 3, nil), newFile("200", 200, 3, nil)
	r := newRun(t, 1, &node{name: "a", files: []*file{late, old}})
	r.check = func(target []*fetch.Link) (chain.Hash, error) {
		if target[0].Name == "200" {
			return target[0].Hash, errors.New("not on the chain that is followed")
		}
		return chain.Hash{}, nil
	}
	target, err := r.drive()
	if err != nil {
		t.Fatal(err)
	}
	r.holds(target, old)
	if r.fates() != nil {
		t.Errorf("dropped %v", r.fates())
	}
}

// TestSnapshotGoes: a source that prunes what is being fetched is not a liar; what
// it has then is taken.
func TestSnapshotGoes(t *testing.T) {
	for seed := range uint64(seeds) {
		old, late := newFile("100", 100, 30, nil), newFile("200", 200, 30, nil)
		n := &node{name: "a", files: []*file{old}}
		n.answer = func(req fetch.Request, b []byte) ([]byte, error) {
			if n.reads == 20 {
				n.files = []*file{late}
			}
			if n.find(req.Hash) == nil {
				return nil, fetch.ErrNotAvailable
			}
			return b, nil
		}
		r := newRun(t, seed, n)
		target, err := r.drive()
		if err != nil {
			t.Fatal(err)
		}
		r.holds(target, late)
		if r.fates() != nil {
			t.Errorf("dropped %+v", r.plan.Sources())
		}
	}
}

// TestSlowSource: one that was too slow is asked one thing at a time, and an idle
// one takes over what a slow one owes.
func TestSlowSource(t *testing.T) {
	f := newFile("100", 100, 3, nil)
	p := fetch.New([]string{"slow", "fast"}, open)
	ask := func(s int, want bool) fetch.Request {
		t.Helper()
		q, ok := p.Next(s)
		if ok != want {
			t.Fatalf("source %d: asked %v, want %v: %+v", s, ok, want, q)
		}
		return q
	}
	for s := range 2 {
		p.Up(s)
		must(t, p.Listed(s, ask(s, true), []fetch.Offer{f.offer()}))
	}
	if !p.Choose(fetch.Wish{}) {
		t.Fatal("nothing to choose")
	}
	_, err := p.Manifest(0, ask(0, true), f.manifest())
	must(t, err)
	p.Accept()
	p.Open(f.hash(), []int{0, 1, 2})
	ask(0, true)
	ask(0, true)
	ask(0, false)
	p.Lost(0, errors.New("too slow"), true)
	p.Up(0)
	must(t, p.Listed(0, ask(0, true), []fetch.Offer{f.offer()}))
	hangs := ask(0, true)
	ask(0, false)
	for range 2 {
		q := ask(1, true)
		keep, err := p.Chunk(1, q, f.content[q.Index])
		must(t, err)
		if !keep {
			t.Fatalf("chunk %d is not kept", q.Index)
		}
		p.Kept(q)
	}
	over := ask(1, true)
	if over != hangs {
		t.Fatalf("took over %+v, the slow one owes %+v", over, hangs)
	}
	ask(1, false)
	if keep, err := p.Chunk(1, over, f.content[over.Index]); err != nil || !keep {
		t.Fatal(keep, err)
	}
	if keep, err := p.Chunk(0, hangs, f.content[hangs.Index]); err != nil || keep {
		t.Errorf("the same chunk is kept twice: %v, %v", keep, err)
	}
	p.Kept(over)
	if st := p.Status(); !st.Complete || st.Done != st.Total {
		t.Errorf("%+v", st)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
