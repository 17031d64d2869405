package fetch

import (
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
)

// Kind is what a request asks for.
type Kind uint8

// The kinds.
const (
	List     Kind = iota + 1 // [Source.Snapshots]
	Manifest                 // [Source.Manifest]
	File                     // [Source.Chunk]
)

// Request is one question to one source. It is answered by exactly one of Listed,
// Manifest, Chunk, Missing, Busy and Lost.
type Request struct {
	Kind  Kind
	Hash  chain.Hash // of the manifest
	Index uint32     // of the chunk
}

// Plan is the state of one fetch.
type Plan struct {
	open     Opener
	sources  []source
	kept     []kept       // what is on the disk
	refused  []chain.Hash // manifests that are not to be chosen again
	target   []*link      // the full one first; nil until one is chosen
	accepted bool
}

type source struct {
	name   string
	state  sourceState
	listed bool
	slow   bool
	offers []Offer
	asked  []Request
	broken int   // contradictions
	err    error // why it was lost last, or dropped
}

type sourceState uint8

const (
	unknown sourceState = iota // nothing was heard of it yet
	ready
	lost
	dropped
)

// kept is a snapshot that is on the disk, in part or whole.
type kept struct {
	*Link
	whole bool
}

// link is one snapshot of the target.
type link struct {
	offer  Offer // as its first source says, until the manifest is there
	wanted bool  // the manifest is wanted, and nobody is asked for it
	*Link        // nil until the manifest is there
	opened bool  // chunks may be asked for
	chunks []chunkState
	low    int // chunks below are there
	done   uint32
	bytes  uint64 // of the chunks that are there
}

type chunkState struct {
	have    bool
	writing bool // it has come, and is on its way to the disk
	askers  uint8
}

// New plans a fetch from sources that are named for people.
func New(names []string, open Opener) *Plan {
	invariant.Hold(len(names) <= MaxSources, "%d sources, limit %d", len(names), MaxSources)
	p := &Plan{open: open}
	for _, name := range names {
		p.sources = append(p.sources, source{name: name})
	}
	return p
}

// Keep says that a snapshot is on the disk, whole or in part: what need not be
// fetched again.
func (p *Plan) Keep(l *Link, whole bool) {
	p.kept = slices.DeleteFunc(p.kept, func(k kept) bool { return k.Hash == l.Hash })
	p.kept = append(p.kept, kept{l, whole})
}

// Settled reports whether every source has said what it has, or that it cannot be
// reached.
func (p *Plan) Settled() bool {
	return !slices.ContainsFunc(p.sources, func(s source) bool {
		return s.state == unknown || s.state == ready && !s.listed
	})
}

// Up says that a source can be asked.
func (p *Plan) Up(s int) {
	if from := &p.sources[s]; from.state != dropped {
		from.state, from.listed = ready, false
	}
}

// Lost says that a source is gone, perhaps to come back. tooSlow is whether it
// could not answer in time: from then on it is asked one thing at a time.
func (p *Plan) Lost(s int, err error, tooSlow bool) {
	from := &p.sources[s]
	if from.state == dropped {
		return
	}
	from.state, from.err, from.slow, from.offers = lost, err, from.slow || tooSlow, nil
	p.giveBack(from)
}

// giveBack lets others be asked for what a source was asked for.
func (p *Plan) giveBack(from *source) {
	for _, r := range from.asked {
		p.release(r)
	}
	from.asked = nil
}

func (p *Plan) release(r Request) {
	l := p.link(r.Hash)
	switch {
	case l == nil:
	case r.Kind == Manifest && l.Link == nil:
		l.wanted = true
	case r.Kind == File && l.Link != nil:
		l.chunks[r.Index].askers--
	}
}

// answered takes a request off a source's list; false if it was not on it, because
// the source was lost or dropped in between.
func (p *Plan) answered(s int, r Request) bool {
	from := &p.sources[s]
	i := slices.Index(from.asked, r)
	if i < 0 {
		return false
	}
	from.asked = slices.Delete(from.asked, i, i+1)
	p.release(r)
	return true
}

// Drop never asks a source again: what came from it was not an answer at all.
func (p *Plan) Drop(s int, err error) {
	if p.sources[s].state != dropped {
		_ = p.drop(s, err) // it is kept with the source
	}
}

// drop never asks a source again.
func (p *Plan) drop(s int, err error) error {
	from := &p.sources[s]
	lie := &LieError{from.name, err}
	from.state, from.err, from.offers = dropped, lie, nil
	p.giveBack(from)
	return lie
}

// link is the part of the target with a manifest hash.
func (p *Plan) link(hash chain.Hash) *link {
	for _, l := range p.target {
		if l.offer.Hash == hash {
			return l
		}
	}
	return nil
}

func (p *Plan) begin(offers []Offer) {
	for _, o := range offers {
		l := &link{offer: o, wanted: true}
		p.target = append(p.target, l)
		if k := p.onDisk(o.Hash); k != nil {
			l.fill(k.Link)
			if k.whole {
				l.open(nil)
			}
		}
	}
}

// fill gives a link its manifest.
func (l *link) fill(m *Link) {
	l.Link, l.wanted, l.chunks = m, false, make([]chunkState, len(m.Chunks))
}

// open says which chunks are to be fetched, ascending.
func (l *link) open(missing []int) {
	l.opened = true
	for i := range l.chunks {
		if _, found := slices.BinarySearch(missing, i); !found {
			l.keep(uint32(i))
		}
	}
}

func (l *link) keep(i uint32) {
	l.chunks[i].have = true
	l.done++
	l.bytes += uint64(l.Link.Chunks[i].Bytes)
	for l.low < len(l.chunks) && l.chunks[l.low].have {
		l.low++
	}
}

// Accept lets chunks be fetched: the caller has looked at the target's headers and
// at the room on its disk.
func (p *Plan) Accept() { p.accepted = true }

// Current is the link whose chunks are fetched now, nil if there is none. The
// caller makes room for it and calls Open.
func (p *Plan) Current() *Link {
	if l := p.current(); l != nil {
		return l.Link
	}
	return nil
}

// current is the first link that is not whole: one after the other, so that what is
// on the disk is always whole snapshots and at most one that is not.
func (p *Plan) current() *link {
	for _, l := range p.target {
		if p.accepted && l.Link != nil && !l.whole() {
			return l
		}
	}
	return nil
}

func (l *link) whole() bool { return l.opened && l.low == len(l.chunks) }

// Open lets chunks of a link be asked for: these ones, ascending; the others are on
// the disk.
func (p *Plan) Open(hash chain.Hash, missing []int) {
	if l := p.link(hash); l != nil && l.Link != nil && !l.opened {
		l.open(missing)
	}
}

// Refuse gives the target up because of one of its manifests, which is never
// chosen again. If it is a lie, everybody who offers it is dropped.
func (p *Plan) Refuse(hash chain.Hash, err error, lie bool) {
	p.refused = append(p.refused, hash)
	p.forget()
	for i := range p.sources {
		if lie && p.sources[i].has(hash) {
			_ = p.drop(i, err) // it is kept with the source
		}
	}
}

// Discard says that what is on the disk of a snapshot is damaged, through nobody's
// fault: it is to be fetched again.
func (p *Plan) Discard(hash chain.Hash) {
	p.kept = slices.DeleteFunc(p.kept, func(k kept) bool { return k.Hash == hash })
	p.forget()
}

func (s *source) has(hash chain.Hash) bool {
	return s.state == ready && slices.ContainsFunc(s.offers, func(o Offer) bool { return o.Hash == hash })
}

// Next is what to ask a source now; false, and the zero request, if there is
// nothing.
func (p *Plan) Next(s int) (r Request, ok bool) {
	from := &p.sources[s]
	window := Window
	if from.slow {
		window = 1
	}
	if from.state != ready || len(from.asked) >= window {
		return r, false
	}
	if r, ok = p.next(from); ok {
		from.asked = append(from.asked, r)
	}
	return r, ok
}

func (p *Plan) next(from *source) (r Request, ok bool) {
	if !from.listed {
		list := Request{Kind: List}
		if slices.Contains(from.asked, list) {
			return r, false
		}
		return list, true
	}
	for _, l := range p.target {
		if l.wanted && from.has(l.offer.Hash) {
			l.wanted = false
			return Request{Kind: Manifest, Hash: l.offer.Hash}, true
		}
	}
	l := p.current()
	if l == nil || !l.opened || !from.has(l.offer.Hash) {
		return r, false
	}
	i, ok := l.missing(0)
	if !ok && len(from.asked) == 0 { // an idle one takes over from one that may hang
		i, ok = l.missing(1)
	}
	if !ok {
		return r, false
	}
	l.chunks[i].askers++
	return Request{File, l.offer.Hash, i}, true
}

// missing is the first chunk that is not there and that so many are asked for.
func (l *link) missing(askers uint8) (uint32, bool) {
	for i := l.low; i < len(l.chunks); i++ {
		if c := &l.chunks[i]; !c.have && !c.writing && c.askers == askers {
			return uint32(i), true
		}
	}
	return 0, false
}

// forget lets go of the target; its requests mean nothing any more.
func (p *Plan) forget() {
	for i := range p.sources {
		s := &p.sources[i]
		s.asked = slices.DeleteFunc(s.asked, func(r Request) bool { return r.Kind != List })
	}
	p.target, p.accepted = nil, false
}
