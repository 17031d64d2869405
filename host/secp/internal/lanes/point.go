package lanes

// affine is a point (x, y) in every lane.
type affine struct{ x, y number }

// point is (X/Z², Y/Z³) in every lane; Z = 0 says that a formula did not apply on
// the way here.
type point struct{ x, y, z number }

// line is a point of the table of the generator: x and y below p, one cache line.
type line [8]uint64

// scratch is where the point operations keep what is not in registers.
type scratch [8]number

// multiplier computes k1·R + k2·lambda·R + k·G for points R, one in every lane of one
// or two vectors: two together take less than twice as long as one.
type multiplier struct {
	tables [2]tableOfR
	ratios [multiples][2]number // from one multiple's Z to the next one's
	acc    [2]point
	q      [2]affine
	h      [2]number
	t      [2]scratch
}

// tableOfR is the odd multiples of R, up to 15·R, and those of lambda·R, which have
// the same y, all affine over z: as they are on the curve y² = x³ + 7·z⁶. The formulas
// for doubling and addition do not mention the 7.
type tableOfR struct {
	xs, ys, lambdaXs [multiples]number
	z                number
}

// run computes what the digits say of R = (x, y) and G for as many vectors as there
// are digits, one or two, and leaves it in m.acc.
func (m *multiplier) run(x, y []number, d []digits, g *generator) {
	acc := m.acc[:len(d)]
	m.makeTables(acc, x, y)
	for i := range acc {
		t := &m.tables[i]
		choose(&m.q[i], &t.xs, &t.ys, &d[i].r1[multipleWindows-1])
		acc[i] = point{m.q[i].x, m.q[i].y, one}
	}
	m.addLambda(acc, d, multipleWindows-1)
	for w := multipleWindows - 2; w >= 0; w-- {
		double(acc, multipleBits, &m.t)
		m.addMultiple(acc, d, w)
		m.addLambda(acc, d, w)
	}
	for i := range acc {
		mul(&acc[i].z, &acc[i].z, &m.tables[i].z) // back on y² = x³ + 7
	}
	for w := range g.windows {
		for i := range acc {
			comb(&m.q[i], &g.windows[w], &d[i].g[w], &m.t[i])
		}
		add(acc, &m.q, &m.h, &m.t)
	}
}

func (m *multiplier) addMultiple(acc []point, d []digits, w int) {
	for i := range acc {
		choose(&m.q[i], &m.tables[i].xs, &m.tables[i].ys, &d[i].r1[w])
	}
	add(acc, &m.q, &m.h, &m.t)
}

func (m *multiplier) addLambda(acc []point, d []digits, w int) {
	for i := range acc {
		choose(&m.q[i], &m.tables[i].lambdaXs, &m.tables[i].ys, &d[i].r2[w])
	}
	add(acc, &m.q, &m.h, &m.t)
}

// makeTables makes the tables of R = (x, y).
func (m *multiplier) makeTables(acc []point, x, y []number) {
	for i := range acc {
		acc[i] = point{x[i], y[i], one}
	}
	double(acc, 1, &m.t)
	for i := range acc {
		// Over the Z of 2R, 2R is affine, and R is where its coordinates are scaled.
		t := &m.tables[i]
		m.q[i], t.z = affine{acc[i].x, acc[i].y}, acc[i].z
		t.xs[0], t.ys[0] = x[i], y[i]
		t.scale(0, &t.z)
		acc[i] = point{t.xs[0], t.ys[0], one}
	}
	for e := 1; e < multiples; e++ {
		add(acc, &m.q, &m.ratios[e], &m.t)
		for i := range acc {
			m.tables[i].xs[e], m.tables[i].ys[e] = acc[i].x, acc[i].y
		}
	}
	for i := range acc {
		mul(&m.tables[i].z, &m.tables[i].z, &acc[i].z)
		m.makeCommon(i)
	}
}

// makeCommon brings all multiples over the Z of the last one.
func (m *multiplier) makeCommon(i int) {
	t, z := &m.tables[i], &m.h[i]
	*z = m.ratios[multiples-1][i]
	for e := multiples - 2; e >= 0; e-- {
		t.scale(e, z)
		if e > 0 {
			mul(z, z, &m.ratios[e][i])
		}
	}
	for e := range t.xs {
		normal(&t.ys[e], &t.ys[e]) // choose may negate it
		mul(&t.lambdaXs[e], &t.xs[e], &beta)
	}
}

// scale multiplies entry e by z² and z³.
func (t *tableOfR) scale(e int, z *number) {
	var zz number
	mul(&zz, z, z)
	mul(&t.xs[e], &t.xs[e], &zz)
	mul(&zz, &zz, z)
	mul(&t.ys[e], &t.ys[e], &zz)
}
