package oracle

import "fmt"

// Limits of a random walk.
const (
	// WalkTickMs is the time between two steps of a random walk, ms.
	WalkTickMs = 100
	// WalkStepPPM is the largest step, millionths of the price.
	WalkStepPPM = 50
	// WalkTicks is how long a walk goes on, ticks (29 hours). Then it walks the same
	// way back to its start, and so on, so that a clock which jumps by years costs
	// no more than one day's walk.
	WalkTicks = 1 << 20
	// MaxWalkPrice bounds a starting price, so that no step can overflow.
	MaxWalkPrice = 1 << 50
	// MinWalkPrice is the lowest starting price of which half still moves.
	MinWalkPrice = 4_000_000 / WalkStepPPM

	markTicks = 1 << 10 // ticks between two remembered prices
)

// Walk is a seeded random walk: one price per pair and tick, a function of seed,
// pair and the number of ticks since the start, in integers only. It stays
// between half and twice the price it started from.
type Walk struct {
	start uint64
	paths []path
}

type path struct {
	pair  Pair
	seed  uint64
	marks []uint64 // the price at every markTicks-th tick, as far as anybody asked
}

// StartPrice is where the walk of a pair begins.
type StartPrice struct {
	Pair  Pair
	Price uint64
}

// DefaultWalk is the three markets of the known tokens.
func DefaultWalk() []StartPrice {
	starts := []StartPrice{{Price: 104_250_000_000}, {Price: 3_300_000_000}, {Price: 190_000_000}}
	known := KnownTokens()
	for i, base := range []string{"BTC", "ETH", "SOL"} {
		starts[i].Pair = Pair{Name: base + "/USDT", Base: known[base], Quote: known["USDT"]}
	}
	return starts
}

// NewWalk makes a walk that is at its starting prices at start, ms.
func NewWalk(seed, start uint64, pairs []StartPrice) (*Walk, error) {
	w := &Walk{start: start}
	for _, p := range pairs {
		if p.Price < MinWalkPrice || p.Price > MaxWalkPrice {
			return nil, fmt.Errorf("random walk of %s: starts at %d, want %d to %d", p.Pair.Name, p.Price, MinWalkPrice, uint64(MaxWalkPrice))
		}
		own := seed
		for _, b := range []byte(p.Pair.Name) {
			own = mix(own ^ uint64(b)) // so that two pairs of one seed walk differently
		}
		w.paths = append(w.paths, path{pair: p.Pair, seed: own, marks: []uint64{p.Price}})
	}
	return w, nil
}

// Quotes implements [Source]. A step took place at the start of its tick.
func (w *Walk) Quotes(now uint64) []Quote {
	tick := (max(now, w.start) - w.start) / WalkTickMs
	quotes := make([]Quote, len(w.paths))
	for i := range w.paths {
		p := &w.paths[i]
		quotes[i] = Quote{Pair: p.pair, Price: p.at(tick), LastUpdate: w.start + tick*WalkTickMs, Sources: []string{"walk"}}
	}
	return quotes
}

// Providers implements [Source].
func (w *Walk) Providers(uint64) []Provider {
	return []Provider{{Name: "walk", Ready: true, Prices: len(w.paths)}}
}

// at is the price at tick: from the last mark before it, at most markTicks steps.
func (p *path) at(tick uint64) uint64 {
	if tick %= 2 * WalkTicks; tick > WalkTicks {
		tick = 2*WalkTicks - tick
	}
	mark := tick / markTicks
	for have := uint64(len(p.marks)); have <= mark; have++ {
		p.marks = append(p.marks, p.walk((have-1)*markTicks, have*markTicks))
	}
	return p.walk(mark*markTicks, tick)
}

// walk goes on from a mark.
func (p *path) walk(from, to uint64) uint64 {
	price := p.marks[from/markTicks]
	for tick := from + 1; tick <= to; tick++ {
		price = p.step(price, mix(p.seed+tick))
	}
	return price
}

// step moves price by a uniform share of [-WalkStepPPM, WalkStepPPM] millionths;
// a step over a bound is not taken.
func (p *path) step(price, random uint64) uint64 {
	largest := price * WalkStepPPM / 1_000_000
	next := price - largest + random%(2*largest+1)
	if next < p.marks[0]/2 || next > p.marks[0]*2 {
		return price
	}
	return next
}

// mix is the finaliser of SplitMix64: a bijection whose outputs for successive
// inputs look independent.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
