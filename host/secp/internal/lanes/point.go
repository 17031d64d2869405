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

// multiplier computes k1·R + k2·lambda·R + k·G for points R, one in every lane.
type multiplier struct {
	xs, ys, lambdaXs [multiples]number // R, 3R, … 15R; lambda·R has the same y
	ratios           [multiples]number // from one multiple's Z to the next one's
	acc              point
	q                affine
	h                number
	t                scratch
}

// table makes the odd multiples of (x, y), all over one common Z, which it leaves in
// m.acc.z: on the curve y² = x³ + 7·Z⁶ they are affine, and the formulas for doubling
// and addition do not mention the 7.
func (m *multiplier) table(x, y *number) {
	d := &m.acc
	d.x, d.y, d.z = *x, *y, one
	double(d, 1, &m.t)
	// Over the Z of 2R, 2R is affine, and R is where its coordinates are scaled.
	twice, z := affine{d.x, d.y}, d.z
	m.xs[0], m.ys[0] = *x, *y
	m.scale(0, &z)
	m.acc.x, m.acc.y, m.acc.z = m.xs[0], m.ys[0], one
	for i := 1; i < multiples; i++ {
		add(&m.acc, &twice, &m.ratios[i], &m.t)
		m.xs[i], m.ys[i] = m.acc.x, m.acc.y
	}
	mul(&m.acc.z, &m.acc.z, &z)
	m.common()
}

// common brings all multiples over the Z of the last one.
func (m *multiplier) common() {
	z := m.ratios[multiples-1]
	for i := multiples - 2; i >= 0; i-- {
		m.scale(i, &z)
		if i > 0 {
			mul(&z, &z, &m.ratios[i])
		}
	}
	for i := range m.xs {
		normal(&m.ys[i], &m.ys[i]) // choose may negate it
		mul(&m.lambdaXs[i], &m.xs[i], &beta)
	}
}

// scale multiplies entry i by z² and z³.
func (m *multiplier) scale(i int, z *number) {
	zz := &m.t[0]
	mul(zz, z, z)
	mul(&m.xs[i], &m.xs[i], zz)
	mul(zz, zz, z)
	mul(&m.ys[i], &m.ys[i], zz)
}

// run computes what the digits say of R = (x, y) and G, and leaves it in m.acc.
func (m *multiplier) run(x, y *number, d *digits, g *generator) {
	m.table(x, y)
	z := m.acc.z
	choose(&m.q, &m.xs, &m.ys, &d.r1[multipleWindows-1])
	m.acc.x, m.acc.y, m.acc.z = m.q.x, m.q.y, one
	m.addMultiple(&m.lambdaXs, &d.r2[multipleWindows-1])
	for i := multipleWindows - 2; i >= 0; i-- {
		double(&m.acc, multipleBits, &m.t)
		m.addMultiple(&m.xs, &d.r1[i])
		m.addMultiple(&m.lambdaXs, &d.r2[i])
	}
	mul(&m.acc.z, &m.acc.z, &z) // back on y² = x³ + 7
	for i := range g.windows {
		comb(&m.q, &g.windows[i], &d.g[i], &m.t)
		add(&m.acc, &m.q, &m.h, &m.t)
	}
}

func (m *multiplier) addMultiple(xs *[multiples]number, digits *[Lanes]uint8) {
	choose(&m.q, xs, &m.ys, digits)
	add(&m.acc, &m.q, &m.h, &m.t)
}
