package lanes

import "sync"

// generator is the table of G: window i has the odd multiples, up to 255, of
// 2^(8i)·G.
type generator struct {
	windows [combWindows][combPoints]line
}

// base is G.
var base = affine{
	x: all(words{0x59f2815b16f81798, 0x029bfcdb2dce28d9, 0x55a06295ce870b07, 0x79be667ef9dcbbac}),
	y: all(words{0x9c47d08ffb10d4b8, 0xfd17b448a6855419, 0x5da4fbfc0e1108a8, 0x483ada7726a3c465}),
}

// tableOfG is made when the first Batch needs it: 256 KiB, in less than a
// millisecond.
var tableOfG = sync.OnceValue(makeGenerator)

func makeGenerator() *generator {
	g := new(generator)
	m := &generatorMaker{next: [1]point{{base.x, base.y, one}}}
	for w := 0; w < combWindows; w += Lanes {
		m.powers()
		m.oddMultiples()
		m.write(g.windows[w : w+Lanes])
	}
	return g
}

// generatorMaker makes eight windows at a time, one in each lane.
type generatorMaker struct {
	next     [1]point          // a power of two times G, the same in all lanes
	points   [combPoints]point // odd multiples
	products [combPoints]number
	twice    [1]point
	step     [2]affine // the first of them
	h        [2]number
	t        [2]scratch
	n        normalizer
}

// powers sets the first of the points to 2^(8i)·G of each window and goes on to
// the windows after them.
func (m *generatorMaker) powers() {
	first := &m.points[0]
	for lane := range Lanes {
		first.x.copyLane(lane, &m.next[0].x)
		first.y.copyLane(lane, &m.next[0].y)
		first.z.copyLane(lane, &m.next[0].z)
		double(m.next[:], combBits, &m.t)
	}
	m.n.run(m.points[:1], m.products[:1])
}

func (m *generatorMaker) oddMultiples() {
	m.twice[0] = m.points[0]
	double(m.twice[:], 1, &m.t)
	m.n.run(m.twice[:], m.products[:1])
	m.step[0] = affine{m.twice[0].x, m.twice[0].y}
	for i := 1; i < combPoints; i++ {
		m.points[i] = m.points[i-1]
		add(m.points[i:i+1], &m.step, &m.h, &m.t)
	}
	m.n.run(m.points[:], m.products[:])
}

func (m *generatorMaker) write(windows [][combPoints]line) {
	for i := range m.points {
		for lane := range windows {
			x, y := m.points[i].x.get(lane), m.points[i].y.get(lane)
			copy(windows[lane][i][:4], x[:])
			copy(windows[lane][i][4:], y[:])
		}
	}
}
