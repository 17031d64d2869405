package gen

import (
	"fmt"
	"math/big"
)

// value is a number in memory. Its limbs 0 to 3 are below 2^52; top bounds limb 4.
type value struct {
	name   string
	base   string // the register that points to it
	offset int    // bytes from there
	top    int64  // largest limb 4
}

// numberBytes is the size of a number in memory.
const numberBytes = 5 * 64

// Largest top limbs. reduced is that of numbers below 2^256, and ample that of any
// number with limbs of 52 bits; loose is what the arguments of functions may have:
// all that a multiplication or a lin here leaves is below it.
const (
	reduced = 1<<topBits - 1
	loose   = 1<<(topBits+3) - 1
	ample   = limbMax
)

// at is the memory operand of a limb.
func (v *value) at(limb int) string { return fmt.Sprintf("%d(%s)", v.offset+64*limb, v.base) }

func (v *value) bound(limb int) *big.Int {
	if limb == 4 {
		return big.NewInt(v.top)
	}
	return big.NewInt(limbMax)
}

// column is what a 64-bit lane of a register may hold, as a signed number.
type column struct{ min, max *big.Int }

func newColumn() column { return column{new(big.Int), new(big.Int)} }

// add widens the column by what is added: between min and max.
func (c *column) add(min, max *big.Int) {
	c.min, c.max = new(big.Int).Add(c.min, min), new(big.Int).Add(c.max, max)
	c.check()
}

func (c *column) addMax(max *big.Int) { c.add(new(big.Int), max) }

func (c *column) scale(f int64) {
	c.min, c.max = new(big.Int).Mul(c.min, big.NewInt(f)), new(big.Int).Mul(c.max, big.NewInt(f))
	c.check()
}

// check panics if the column overflows its register.
func (c *column) check() {
	if !c.min.IsInt64() || !c.max.IsInt64() {
		panic(fmt.Sprintf("gen: a column of %d to %d does not fit 64 bits", c.min, c.max))
	}
}

// above is what is carried out of the column when its low bits stay.
func (c *column) above(bits uint) column {
	return column{new(big.Int).Rsh(c.min, bits), new(big.Int).Rsh(c.max, bits)} // both round down
}

// term is a multiple of a number that is added to a result: factor is ±1, ±2, ±4
// or ±8.
type term struct {
	factor int64
	v      *value
}

// sum is five columns on their way to a number, in registers; column 5 stands for
// 2^260 and is not there (register 0) where it is zero.
type sum struct {
	registers [6]int
	columns   [6]column
}

// products prints the multiplication of the number in Z0 to Z4, whose limbs a
// bounds, by b: the low halves of the products go to one row of accumulators, the
// high halves to another, so that few additions wait for each other.
func (p *printer) products(a, b *value) (low, high [10]int, columns [10]column) {
	low, high, columns = p.rows()
	for j := range 5 {
		p.op("VMOVDQU64", b.at(j), z(operand))
		for i := range 5 {
			p.product(z(operand), z(i), low[i+j], high[i+j+1])
			count(&columns, i, j, a, b, 1)
		}
	}
	return low, high, columns
}

// rows clears the accumulators: low[k] and high[k] stand for 2^(52k).
func (p *printer) rows() (low, high [10]int, columns [10]column) {
	for k := range 9 {
		low[k], high[k+1] = accumulators+k, accumulators+9+k
	}
	for k := range 18 {
		p.zero(accumulators + k)
	}
	for k := range columns {
		columns[k] = newColumn()
	}
	return low, high, columns
}

func (p *printer) zero(register int) { p.op("VPXORQ", z(register), z(register), z(register)) }

func (p *printer) product(a, b string, low, high int) {
	p.op("VPMADD52LUQ", a, b, z(low))
	p.op("VPMADD52HUQ", a, b, z(high))
}

// count adds the bounds of a product of limbs, factor times.
func count(columns *[10]column, i, j int, a, b *value, factor int64) {
	product := new(big.Int).Mul(a.bound(i), b.bound(j))
	for _, half := range []struct {
		column int
		max    *big.Int
	}{{i + j, minimum(product, big.NewInt(limbMax))}, {i + j + 1, new(big.Int).Rsh(product, limbBits)}} {
		columns[half.column].addMax(half.max.Mul(half.max, big.NewInt(factor)))
	}
}

func minimum(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return new(big.Int).Set(a)
	}
	return new(big.Int).Set(b)
}

// squares is products for a square: what is off the diagonal is computed once and
// doubled.
func (p *printer) squares(a *value) (low, high [10]int, columns [10]column) {
	low, high, columns = p.rows()
	for i := range 5 {
		for j := i + 1; j < 5; j++ {
			p.product(z(i), z(j), low[i+j], high[i+j+1])
			count(&columns, i, j, a, a, 2)
		}
	}
	for k := 1; k <= 8; k++ {
		switch {
		case k == 1: // nothing in its high row
		case k == 8:
			low[k] = high[k] // nothing in its low row
		default:
			p.op("VPADDQ", z(high[k]), z(low[k]), z(low[k]))
		}
		p.op("VPADDQ", z(low[k]), z(low[k]), z(low[k]))
		if k <= 4 && k > 1 {
			p.zero(high[k])
		}
	}
	for i := range 5 {
		to := high[9]
		if i < 4 {
			to = low[2*i+1]
		}
		p.product(z(i), z(i), low[2*i], to)
		count(&columns, i, i, a, a, 1)
	}
	// The rows above 2^208 are one now, as fold wants them.
	high[5], high[6], high[7], high[8] = 0, 0, 0, 0
	return low, high, columns
}

// fold replaces what stands for 2^260 and above: 2^260 is 2^36 + 15632 modulo p. A
// multiplier reads the low 52 bits of a column, so its excess is multiplied apart.
func (p *printer) fold(low, high [10]int, columns [10]column) *sum {
	var s sum
	for k := 5; k <= 8; k++ {
		if high[k] != 0 {
			p.op("VPADDQ", z(high[k]), z(low[k]), z(low[k]))
		}
	}
	low[9] = high[9]
	s.registers[5] = operand
	p.zero(operand)
	high[5] = operand
	excess := accumulators + 9 + 4 // high[5], whose content is added by now
	for k := 0; k < 5; k++ {
		p.op("VPMADD52LUQ", z(foldLarge), z(low[k+5]), z(low[k]))
		p.op("VPMADD52HUQ", z(foldLarge), z(low[k+5]), z(high[k+1]))
		if k < 4 {
			p.op("VPSRLQ", fmt.Sprint("$", limbBits), z(low[k+5]), z(excess))
			p.op("VPMADD52LUQ", z(foldLarge), z(excess), z(high[k+1]))
		}
	}
	for k := range 6 {
		s.columns[k] = newColumn()
	}
	for k := range 5 {
		s.columns[k].addMax(columns[k].max)
		above := columns[k+5]
		s.columns[k].addMax(big.NewInt(limbMax))
		s.columns[k+1].addMax(big.NewInt(large))
		excess := new(big.Int).Rsh(above.max, limbBits)
		excess.Mul(excess, big.NewInt(large))
		if excess.BitLen() > limbBits || k == 4 && excess.Sign() > 0 {
			panic("gen: the excess of a column is too much")
		}
		s.columns[k+1].addMax(excess)
	}
	s.registers[0] = low[0]
	for k := 1; k < 5; k++ {
		s.registers[k] = low[k]
		if high[k] != low[k] {
			p.op("VPADDQ", z(high[k]), z(low[k]), z(low[k]))
		}
	}
	return &s
}

// times multiplies a sum by 1, 2 or 3.
func (p *printer) times(s *sum, factor int64) {
	for k, r := range s.registers {
		s.columns[k].scale(factor)
		switch factor {
		case 2:
			p.op("VPADDQ", z(r), z(r), z(r))
		case 3:
			p.op("VPADDQ", z(r), z(r), z(scratch))
			p.op("VPADDQ", z(scratch), z(r), z(r))
		}
	}
}

// plus adds a term to a sum.
func (p *printer) plus(s *sum, t term) {
	name, factor := "VPADDQ", t.factor
	if factor < 0 {
		name, factor = "VPSUBQ", -factor
	}
	for k := range 5 {
		from, r := t.v.at(k), z(s.registers[k])
		if factor > 1 {
			p.op("VPSLLQ", fmt.Sprint("$", big.NewInt(factor).BitLen()-1), from, z(scratch))
			from = z(scratch)
		}
		p.op(name, from, r, r)
		if by := new(big.Int).Mul(t.v.bound(k), big.NewInt(factor)); t.factor < 0 {
			s.columns[k].add(by.Neg(by), new(big.Int))
		} else {
			s.columns[k].addMax(by)
		}
	}
}

// settle makes a sum a number again, in Z0 to Z4: what is above 2^256 is folded
// into the lowest limbs, then each limb keeps 52 bits and carries the rest. Where
// columns may be negative, so many multiples of p are added that the number is
// not. It returns the bound of limb 4.
func (p *printer) settle(s *sum) (top int64) {
	signed := false
	for _, c := range s.columns {
		signed = signed || c.min.Sign() < 0
	}
	base := uint64(0) // what the top limb keeps so that a borrow leaves it positive
	if signed {
		base = 1 << topBits
		multiples := below(s.columns[4].min, topBits)
		p.addConstant(s, 4, multiples<<topBits)
		p.addConstant(s, 0, -(multiples+1)*small)
	}
	r := s.registers
	over := p.split(s, base)
	folded := new(big.Int).Mul(over, big.NewInt(small))
	p.op("VPMADD52LUQ", z(foldSmall), z(scratch), z(r[0]))
	s.columns[0].addMax(minimum(folded, big.NewInt(limbMax)))
	if folded.BitLen() > limbBits {
		p.op("VPMADD52HUQ", z(foldSmall), z(scratch), z(r[1]))
		s.columns[1].addMax(folded.Rsh(folded, limbBits))
	}
	return p.carry(s, signed)
}

// below is how many times 2^bits must be added to a number so that it is not
// negative.
func below(n *big.Int, bits uint) int64 {
	return -new(big.Int).Rsh(minimum(n, new(big.Int)), bits).Int64()
}

// addConstant adds n to a column.
func (p *printer) addConstant(s *sum, k int, n int64) {
	if n == 0 {
		return
	}
	p.op("VPADDQ.BCST", p.constant(uint64(n)), z(s.registers[k]), z(s.registers[k]))
	s.columns[k].add(big.NewInt(n), big.NewInt(n))
}

// split takes what stands for 2^256 and above out of a sum into the scratch
// register, and returns its bound; base is added to what stays.
func (p *printer) split(s *sum, base uint64) (over *big.Int) {
	top := s.columns[4]
	if top.min.Sign() < 0 {
		panic("gen: the top column may be negative")
	}
	over = top.above(topBits).max
	p.op("VPSRLQ", fmt.Sprint("$", topBits), z(s.registers[4]), z(scratch))
	if r := s.registers[5]; r != 0 {
		p.op("VPSLLQ", fmt.Sprint("$", 5*limbBits-256), z(r), z(r))
		p.op("VPADDQ", z(r), z(scratch), z(scratch))
		over.Add(over, new(big.Int).Lsh(s.columns[5].max, 5*limbBits-256))
	}
	if over.BitLen() > limbBits {
		panic("gen: too much is above 2^256 to fold it at once")
	}
	r := z(s.registers[4])
	p.op("VPANDQ.BCST", p.constant(reduced), r, r)
	if base != 0 {
		p.op("VPORQ.BCST", p.constant(base), r, r)
	}
	s.columns[4] = column{new(big.Int).SetUint64(base), new(big.Int).SetUint64(base + reduced)}
	return over
}

// carry brings limbs 0 to 3 below 2^52 and puts the number into Z0 to Z4. It
// returns the bound of limb 4.
func (p *printer) carry(s *sum, signed bool) (top int64) {
	shift := "VPSRLQ"
	if signed {
		shift = "VPSRAQ"
	}
	for k := range 4 {
		r, next := s.registers[k], s.registers[k+1]
		p.op(shift, fmt.Sprint("$", limbBits), z(r), z(scratch))
		p.op("VPANDQ", z(mask), z(r), z(k))
		if k == 3 {
			p.op("VPADDQ", z(scratch), z(next), z(4))
		} else {
			p.op("VPADDQ", z(scratch), z(next), z(next))
		}
		carried := s.columns[k].above(limbBits)
		s.columns[k+1].add(carried.min, carried.max)
	}
	last := s.columns[4]
	if last.min.Sign() < 0 || last.max.BitLen() > limbBits {
		panic(fmt.Sprintf("gen: a top limb of %d to %d", last.min, last.max))
	}
	return last.max.Int64()
}

// store writes Z0 to Z4 to a number; top is the bound of limb 4.
func (p *printer) store(to *value, top int64) {
	for k := range 5 {
		p.op("VMOVDQU64", z(k), to.at(k))
	}
	to.top = top
}

// fetch loads a number into Z0 to Z4.
func (p *printer) fetch(v *value) {
	for k := range 5 {
		p.op("VMOVDQU64", v.at(k), z(k))
	}
}

// mul prints to = factor·a·b + terms.
func (p *printer) mul(to *value, factor int64, a, b *value, terms ...term) {
	p.note("%s = %s", to.name, formula(fmt.Sprintf("%s·%s", a.name, b.name), factor, terms))
	p.fetch(a)
	s := p.fold(p.products(a, b))
	p.store(to, p.finish(s, factor, terms))
}

// sqr prints to = factor·a² + terms.
func (p *printer) sqr(to *value, factor int64, a *value, terms ...term) {
	p.note("%s = %s", to.name, formula(a.name+"²", factor, terms))
	p.fetch(a)
	s := p.fold(p.squares(a))
	p.store(to, p.finish(s, factor, terms))
}

func (p *printer) finish(s *sum, factor int64, terms []term) (top int64) {
	p.times(s, factor)
	for _, t := range terms {
		p.plus(s, t)
	}
	return p.settle(s)
}

// lin prints to = the sum of terms.
func (p *printer) lin(to *value, terms ...term) {
	p.note("%s =%s", to.name, formula("", 1, terms))
	s := &sum{registers: [6]int{5, 6, 7, 8, 9, 0}}
	for k := range 6 {
		s.columns[k] = newColumn()
		if k < 5 {
			p.zero(s.registers[k])
		}
	}
	p.store(to, p.finish(s, 1, terms))
}

// formula is for a comment.
func formula(product string, factor int64, terms []term) string {
	if factor != 1 {
		product = fmt.Sprint(factor) + product
	}
	for _, t := range terms {
		sign, f := "+", t.factor
		if f < 0 {
			sign, f = "-", -f
		}
		times := ""
		if f > 1 {
			times = fmt.Sprint(f)
		}
		product += fmt.Sprintf(" %s %s%s", sign, times, t.v.name)
	}
	return product
}
