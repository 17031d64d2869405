package lanes

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkBatch is a batch of each size; ns/signature is what counts.
func BenchmarkBatch(b *testing.B) {
	requireLanes(b)
	rng, batch := rand.New(rand.NewPCG(1, 1)), new(Batch)
	for _, n := range []int{1, 2, 3, 4, 8, 16, 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			all, jobs := make([]recovered, n), make([]Job, n)
			for i := range jobs {
				for all[i].who == nil {
					all[i] = random(rng)
				}
				jobs[i] = Job{Digest: &all[i].digest, RS: &all[i].rs, Odd: all[i].odd}
			}
			b.ReportAllocs()
			for b.Loop() {
				batch.Recover(jobs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/signature")
		})
	}
}

// BenchmarkParts is where the time of a batch goes: each part is for eight lanes or, both, for two times eight.
func BenchmarkParts(b *testing.B) {
	requireLanes(b)
	w, g := new(Batch), tableOfG()
	w.m.acc = [2]point{{base.x, base.y, one}, {base.x, base.y, one}}
	q := affine{base.x, base.y}
	w.m.q = [2]affine{q, q}
	xs, ys, r1 := []number{q.x, q.x}, []number{q.y, q.y}, &w.m.tables[0]
	r := pair{base.x, base.y}
	scalar := words{1, 2, 3, 4}
	for _, part := range []struct {
		name string
		run  func(i int)
	}{
		{"mul", func(int) { mul(&r[0], &q.x, &q.y) }},
		{"square both 100 times", func(int) { square(&r[0], &r[1], 100) }},
		{"double 4 times", func(int) { double(w.m.acc[:1], 4, &w.m.t) }},
		{"double both 4 times", func(int) { double(w.m.acc[:], 4, &w.m.t) }},
		{"add", func(int) { add(w.m.acc[:1], &w.m.q, &w.m.h, &w.m.t) }},
		{"add both", func(int) { add(w.m.acc[:], &w.m.q, &w.m.h, &w.m.t) }},
		{"choose", func(int) { choose(&w.m.q[1], &r1.xs, &r1.ys, &w.digits[0].r1[0]) }},
		{"comb", func(i int) { comb(&w.m.q[1], &g.windows[i%combWindows], &w.digits[0].g[0], &w.m.t[0]) }},
		{"multiplier", func(int) { w.m.run(xs, ys, w.digits[:1], g) }},
		{"multiplier of both", func(int) { w.m.run(xs, ys, w.digits[:2], g) }},
		{"roots of two", func(int) { w.norm.chains.root(&r) }},
		{"keccak", func(int) { keccak(&w.sum, &q.x, &q.y) }},
		{"inverse of a scalar", func(int) { inverse(&scalar) }},
		{"montgomery", func(int) { montgomery(&scalar, &scalar) }},
		{"table of G", func(int) { makeGenerator() }},
	} {
		b.Run(part.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				part.run(i)
			}
		})
	}
}
