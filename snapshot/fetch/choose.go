package fetch

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Wish says which snapshot is wanted.
type Wish struct {
	// AtMost is the last block it may be of; 0: any.
	AtMost uint64
	// Newest is whether a newer one is wanted in the place of one that is on the disk
	// whole. One that is there in part is always gone on with.
	Newest bool
}

// candidate is a manifest that somebody offers, or that is on the disk.
type candidate struct {
	Offer
	begun      bool // it, or what it stands on, is on the disk, to be gone on with
	supporters int
	base       int // index of what it stands on; noBase, or useless
	links      int // with what it stands on
	bytes      uint64
}

const (
	noBase  = -1
	useless = -2 // what it stands on is not to be had
)

// Choose picks the snapshot to get from what is offered now and what is on the
// disk, in place of the present one. False means that there is none.
//
// What was begun comes before a newer block, that before a signature, that before
// more sources that have it.
func (p *Plan) Choose(wish Wish) bool {
	p.forget()
	list := p.candidates(wish)
	stand(list)
	best := noBase
	for i := range list {
		c := &list[i]
		if c.base == useless || wish.AtMost != 0 && c.Block.Number > wish.AtMost {
			continue
		}
		if best == noBase || better(c, &list[best]) < 0 {
			best = i
		}
	}
	if best == noBase {
		return false
	}
	var chosen []Offer
	for i := best; i != noBase; i = list[i].base {
		chosen = append(chosen, list[i].Offer)
	}
	slices.Reverse(chosen)
	p.begin(chosen)
	return true
}

func better(a, b *candidate) int {
	return cmp.Or(yesFirst(a.begun, b.begun), cmp.Compare(b.Block.Number, a.Block.Number), yesFirst(a.Signed, b.Signed),
		cmp.Compare(b.supporters, a.supporters), bytes.Compare(a.Hash[:], b.Hash[:]))
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// candidates lists what is on the disk and what is offered.
func (p *Plan) candidates(wish Wish) (list []candidate) {
	index := make(map[chain.Hash]int)
	for _, k := range p.kept {
		if !slices.Contains(p.refused, k.Hash) {
			index[k.Hash] = len(list)
			list = append(list, candidate{Offer: k.Offer, begun: !k.whole || !wish.Newest})
		}
	}
	for i := range p.sources {
		for _, o := range p.sources[i].offers {
			if slices.Contains(p.refused, o.Hash) {
				continue
			}
			at, known := index[o.Hash]
			if !known {
				at = len(list)
				index[o.Hash], list = at, append(list, candidate{Offer: o})
			}
			list[at].supporters++
			list[at].Signed = list[at].Signed || o.Signed
		}
	}
	return slices.DeleteFunc(list, func(c candidate) bool { return c.supporters == 0 && !p.onDisk(c.Hash).whole })
}

// stand finds what each incremental one stands on: the best that has the identity
// it names. In the order of blocks, so that what is below is known.
func stand(list []candidate) {
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.Block.Number, b.Block.Number) })
	byIdentity := make(map[chain.Hash]int)
	for i := range list {
		c := &list[i]
		c.base, c.links, c.bytes = noBase, 1, uint64(c.ManifestBytes)
		if c.Base != (chain.Hash{}) {
			c.standOn(list, byIdentity)
		}
		if c.base == useless {
			continue
		}
		if j, known := byIdentity[c.Identity]; !known || better(c, &list[j]) < 0 {
			byIdentity[c.Identity] = i
		}
	}
}

func (c *candidate) standOn(list []candidate, byIdentity map[chain.Hash]int) {
	i, known := byIdentity[c.Base]
	if !known || list[i].Block.Number >= c.Block.Number {
		c.base = useless
		return
	}
	b := &list[i]
	c.base, c.links, c.bytes, c.begun = i, b.links+1, b.bytes+c.bytes, c.begun || b.begun
	if c.links > MaxLinks || c.bytes > MaxLinksBytes {
		c.base = useless
	}
}

func (p *Plan) onDisk(hash chain.Hash) *kept {
	for i := range p.kept {
		if p.kept[i].Hash == hash {
			return &p.kept[i]
		}
	}
	return nil
}
