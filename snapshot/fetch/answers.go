package fetch

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Listed takes the answer to a List. An error is a *[LieError]: the source is
// dropped.
func (p *Plan) Listed(s int, r Request, offers []Offer) error {
	if !p.answered(s, r) {
		return nil
	}
	if err := checkOffers(offers); err != nil {
		return p.drop(s, err)
	}
	from := &p.sources[s]
	from.listed, from.offers = true, slices.Clone(offers)
	if bad := p.contradicted(offers); bad != nil {
		return p.drop(s, bad)
	}
	return nil
}

func checkOffers(offers []Offer) error {
	if len(offers) > MaxOffers {
		return fmt.Errorf("%w: %d snapshots, limit %d", ErrOffers, len(offers), MaxOffers)
	}
	for i, o := range offers {
		switch {
		case slices.ContainsFunc(offers[:i], func(other Offer) bool { return other.Hash == o.Hash }):
			return fmt.Errorf("%w: manifest %s twice", ErrOffers, o.Hash)
		case o.ManifestBytes > MaxManifestBytes || o.Chunks > MaxChunks || o.Bytes > uint64(o.Chunks)*MaxChunkBytes:
			return fmt.Errorf("%w: manifest %s of %d bytes for %d chunks of %d bytes", ErrOffers, o.Hash, o.ManifestBytes, o.Chunks, o.Bytes)
		}
	}
	return nil
}

// contradicted compares offers with the manifests that are there.
func (p *Plan) contradicted(offers []Offer) error {
	for _, o := range offers {
		if m := p.manifest(o.Hash); m != nil {
			if err := compare(o, m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Plan) manifest(hash chain.Hash) *Link {
	if l := p.link(hash); l != nil && l.Link != nil {
		return l.Link
	}
	if k := p.onDisk(hash); k != nil {
		return k.Link
	}
	return nil
}

// compare holds an offer against its manifest. A signature may be missing on one
// side: it is not part of what a manifest is.
func compare(o Offer, l *Link) error {
	want := l.Offer
	want.Signed = o.Signed
	if o != want {
		return fmt.Errorf("%w: block %d %s, %d chunks, %d bytes, identity %s; the manifest has block %d %s, %d chunks, %d bytes, identity %s", ErrOffer,
			o.Block.Number, o.Block.Hash.Short(), o.Chunks, o.Bytes, o.Identity.Short(), l.Block.Number, l.Block.Hash.Short(), l.Offer.Chunks, l.Bytes, l.Identity.Short())
	}
	return nil
}

// Manifest takes the answer to a Manifest request. Nil means that it is the one
// asked for, or that nobody wants it any more; the target's manifest is then to be
// written down before the chunks. An error is a *[LieError].
func (p *Plan) Manifest(s int, r Request, b []byte) (*Link, error) {
	l := p.link(r.Hash)
	if !p.answered(s, r) || l == nil || l.Link != nil {
		return nil, nil
	}
	m, err := p.open(b)
	switch {
	case m == nil && err != nil:
		return nil, p.drop(s, fmt.Errorf("%w: %w", ErrManifest, err))
	case m.Hash != r.Hash:
		return nil, p.drop(s, fmt.Errorf("%w: %s, want %s", ErrManifest, m.Hash, r.Hash))
	case err != nil: // the right one, and everybody who offers it should know better
		lie := p.drop(s, err)
		p.Refuse(r.Hash, err, true)
		return nil, lie
	}
	if err := p.confront(s, m); err != nil || p.link(r.Hash) == nil {
		return nil, err
	}
	l.fill(m)
	return m, nil
}

// confront holds everybody's offers against a manifest that has come, and the
// manifest against the link below. The error is that of the source which sent it.
func (p *Plan) confront(s int, m *Link) (own error) {
	for i := range p.sources {
		j := slices.IndexFunc(p.sources[i].offers, func(o Offer) bool { return o.Hash == m.Hash })
		if j < 0 {
			continue
		}
		if err := compare(p.sources[i].offers[j], m); err != nil {
			if lie := p.drop(i, err); i == s {
				own = lie
			}
		}
	}
	l := p.link(m.Hash)
	if compare(l.offer, m) != nil || !p.follows(l, m) {
		p.forget() // it was chosen for what it is not
	}
	return own
}

// follows reports whether the manifest fits the link before it.
func (p *Plan) follows(l *link, m *Link) bool {
	i := slices.Index(p.target, l)
	if i == 0 {
		return m.Base == chain.Hash{}
	}
	below := p.target[i-1].offer
	return m.Base == below.Identity && below.Block.Number < m.Block.Number
}

// Chunk takes the answer to a File request. True means that it is right and not
// there yet: the caller writes it and then calls Kept. An error is a *[LieError].
func (p *Plan) Chunk(s int, r Request, b []byte) (keep bool, err error) {
	l := p.link(r.Hash)
	if !p.answered(s, r) || l == nil || l.Link == nil || l.chunks[r.Index].have || l.chunks[r.Index].writing {
		return false, nil
	}
	if err := l.Link.Check(r.Index, b); err != nil {
		return false, p.drop(s, err)
	}
	l.chunks[r.Index].writing = true
	return true, nil
}

// Check compares a chunk's file with the manifest.
func (l *Link) Check(i uint32, b []byte) error {
	c := &l.Chunks[i]
	if len(b) != int(c.Bytes) {
		return fmt.Errorf("%w: chunk %d of %s has %d bytes, want %d", ErrChunkSize, i, l.Name, len(b), c.Bytes)
	}
	if got := chain.Hash(sha256.Sum256(b)); got != c.Hash {
		return fmt.Errorf("%w: chunk %d of %s is %s, want %s", ErrChunkHash, i, l.Name, got, c.Hash)
	}
	return nil
}

// Kept says that a chunk which Chunk wanted is written.
func (p *Plan) Kept(r Request) {
	if l := p.link(r.Hash); l != nil && l.Link != nil && !l.chunks[r.Index].have {
		l.keep(r.Index)
	}
}

// Relist gives the target up and asks every source for its list again: what they
// had may be gone.
func (p *Plan) Relist() {
	p.forget()
	for i := range p.sources {
		p.sources[i].listed = false
	}
}

// Missing takes the answer that a source does not have what it offered. It is
// asked for its list again. An error is a *[LieError].
func (p *Plan) Missing(s int, r Request) error {
	if !p.answered(s, r) {
		return nil
	}
	from := &p.sources[s]
	if r.Kind == List { // it serves none at all
		from.listed, from.offers = true, nil
		return nil
	}
	from.listed = false
	from.offers = slices.DeleteFunc(from.offers, func(o Offer) bool { return o.Hash == r.Hash })
	if from.broken++; from.broken == maxContradictions {
		return p.drop(s, fmt.Errorf("%w: %s, for the %dth time", ErrContradiction, r.Hash, from.broken))
	}
	return nil
}

// Busy takes the answer that a source cannot now; the caller waits before it asks
// again.
func (p *Plan) Busy(s int, r Request) { p.answered(s, r) }
