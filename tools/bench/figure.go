package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Figure is one measured value, its limit if it has one, and what is wanted of it.
type Figure struct {
	Suite string  `json:"suite"`
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value Spread  `json:"value"`
	Limit *Limit  `json:"limit,omitempty"`
	Ratio *Spread `json:"ratio,omitempty"` // of value and limit, taken round by round
	// Target is what must hold now, Goal what is wanted later; both are about the
	// ratio if there is one and about the value otherwise.
	Target *Bound `json:"target,omitempty"`
	Goal   *Bound `json:"goal,omitempty"`
	Met    *bool  `json:"met,omitempty"` // Target, by the median
	Note   string `json:"note,omitempty"`
}

// Spread is what rounds came to.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Rounds int     `json:"rounds"`
}

// Limit is what a value is measured against, in the same run.
type Limit struct {
	Name  string `json:"name"`
	Unit  string `json:"unit"`
	Value Spread `json:"value"`
}

// Bound is a condition on a figure.
type Bound struct {
	Op    string  `json:"op"` // ">=" or "<="
	Value float64 `json:"value"`
}

func atLeast(v float64) *Bound { return &Bound{">=", v} }
func atMost(v float64) *Bound  { return &Bound{"<=", v} }

func (b *Bound) holds(v float64) bool {
	if b.Op == ">=" {
		return v >= b.Value
	}
	return v <= b.Value
}

// round is one measurement and the limit measured beside it.
type round struct{ value, limit float64 }

// spread summarises values, of which there is at least one.
func spread(values []float64) Spread {
	s := slices.Sorted(slices.Values(values))
	return Spread{Median: quantile(s, 0.5), Min: s[0], Max: s[len(s)-1], Rounds: len(s)}
}

// quantile is the q-quantile of ascending values, between the two nearest.
func quantile(ascending []float64, q float64) float64 {
	at := q * float64(len(ascending)-1)
	low := int(math.Floor(at))
	high := min(low+1, len(ascending)-1)
	return ascending[low] + (at-float64(low))*(ascending[high]-ascending[low])
}

// rated is a figure with a limit.
func rated(suite, name, unit, limitName, limitUnit string, rounds []round) Figure {
	var values, limits, ratios []float64
	for _, r := range rounds {
		values, limits, ratios = append(values, r.value), append(limits, r.limit), append(ratios, r.value/r.limit)
	}
	ratio := spread(ratios)
	return Figure{Suite: suite, Name: name, Unit: unit, Value: spread(values), Limit: &Limit{limitName, limitUnit, spread(limits)}, Ratio: &ratio}
}

// drawings is how often pairs are drawn for the range of a pooled quantile.
const drawings = 1000

// pooled is a quantile of all seals of each side, since a segment has too few. The
// range is that of nine in ten drawings of as many pairs, with replacement: what
// another run on the same machine may come to.
func pooled(suite, name, limitName string, q float64, pairs []pair) Figure {
	whole := sides(q, pairs)
	values, limits, ratios := make([]float64, drawings), make([]float64, drawings), make([]float64, drawings)
	random := rand.New(rand.NewPCG(1, 1)) // the same report from the same samples
	drawn := make([]pair, len(pairs))
	for i := range drawings {
		for j := range drawn {
			drawn[j] = pairs[random.IntN(len(pairs))]
		}
		r := sides(q, drawn)
		values[i], limits[i], ratios[i] = r.value, r.limit, r.value/r.limit
	}
	around := func(v float64, drawn []float64) Spread {
		slices.Sort(drawn)
		return Spread{Median: v, Min: min(v, quantile(drawn, 0.05)), Max: max(v, quantile(drawn, 0.95)), Rounds: len(pairs)}
	}
	ratio := around(whole.value/whole.limit, ratios)
	return Figure{Suite: suite, Name: name, Unit: "ms", Value: around(whole.value, values), Limit: &Limit{limitName, "ms", around(whole.limit, limits)}, Ratio: &ratio,
		Note: fmt.Sprintf("%d seals with and %d without, pooled; ratio %.2f to %.2f in nine of ten drawings", whole.with, whole.without, ratio.Min, ratio.Max)}
}

// sided is a quantile of each side, and of how many seals.
type sided struct {
	round
	with, without int
}

func sides(q float64, pairs []pair) sided {
	var with, without []time.Duration
	for i := range pairs {
		with, without = append(with, pairs[i].with.seals...), append(without, pairs[i].without.seals...)
	}
	return sided{round{quantile(ascendingMs(with), q), quantile(ascendingMs(without), q)}, len(with), len(without)}
}

// plain is a figure without a limit.
func plain(suite, name, unit string, values ...float64) Figure {
	return Figure{Suite: suite, Name: name, Unit: unit, Value: spread(values)}
}

func (f Figure) want(target, goal *Bound) Figure {
	f.Target, f.Goal = target, goal
	if target != nil {
		met := target.holds(f.judged().Median)
		f.Met = &met
	}
	return f
}

func (f Figure) noted(note string) Figure {
	f.Note = note
	return f
}

// judged is what targets are about.
func (f *Figure) judged() Spread {
	if f.Ratio != nil {
		return *f.Ratio
	}
	return f.Value
}

// perSecond is a rate.
func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// milliseconds and microseconds are durations as figures.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// ascendingMs are durations in ms, ascending.
func ascendingMs(ds []time.Duration) []float64 {
	v := make([]float64, len(ds))
	for i, d := range ds {
		v[i] = milliseconds(d)
	}
	slices.Sort(v)
	return v
}
