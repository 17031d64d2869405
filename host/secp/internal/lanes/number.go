package lanes

// Lanes is how many numbers a vector register holds.
const Lanes = 8

// limbBits is the size of a limb: what the processor multiplies.
const limbBits = 52

// number is a number modulo p = 2^256 - 2^32 - 977 in every lane: the sum of
// limb k times 2^(52k). Limbs are below 2^52, the last one below 2^51, so that it may
// be more than p; only [normal] makes it the one below p.
type number [5][Lanes]uint64

// words is a number of 256 bits, the lowest word first.
type words [4]uint64

// set makes lane i of n the number w.
func (n *number) set(i int, w *words) {
	const mask = 1<<limbBits - 1
	n[0][i] = w[0] & mask
	n[1][i] = (w[0]>>52 | w[1]<<12) & mask
	n[2][i] = (w[1]>>40 | w[2]<<24) & mask
	n[3][i] = (w[2]>>28 | w[3]<<36) & mask
	n[4][i] = w[3] >> 16
}

// get is lane i of n, which must be below 2^256.
func (n *number) get(i int) words {
	return words{
		n[0][i] | n[1][i]<<52,
		n[1][i]>>12 | n[2][i]<<40,
		n[2][i]>>24 | n[3][i]<<28,
		n[3][i]>>36 | n[4][i]<<16,
	}
}

// copyLane makes a lane of n what it is of m.
func (n *number) copyLane(lane int, m *number) {
	for k := range n {
		n[k][lane] = m[k][lane]
	}
}

// all is w in every lane.
func all(w words) (n number) {
	for i := range Lanes {
		n.set(i, &w)
	}
	return n
}

var (
	one = all(words{1})
	// beta is a cube root of one: (beta·x, y) is lambda times (x, y).
	beta = all(words{0xc1396c28719501ee, 0x9cf0497512f58995, 0x6e64479eac3434e9, 0x7ae96a2b657c0710})
)
