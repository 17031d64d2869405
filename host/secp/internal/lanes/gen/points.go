package gen

import "fmt"

// number is an argument: a number that a function reads, with any limbs that a
// function here leaves.
func number(name, base string, offset int) *value {
	return &value{name: name, base: base, offset: offset, top: loose}
}

// scratches are n numbers in memory that a function may overwrite.
func scratches(base string, n int) []*value {
	var all []*value
	for i := range n {
		all = append(all, &value{name: fmt.Sprintf("t%d", i), base: base, offset: i * numberBytes, top: ample})
	}
	return all
}

// results panics unless what a function leaves may be an argument.
func results(all ...*value) {
	for _, v := range all {
		if v.top > loose {
			panic("gen: " + v.name + " is too large to be an argument")
		}
	}
}

func (p *printer) field() {
	out, a, b := pointer{"out", "DI"}, pointer{"a", "SI"}, pointer{"b", "DX"}

	p.begin("// mulAVX512: out = a·b.", "mulAVX512", 0, out, a, b)
	p.load()
	to := number("out", "DI", 0)
	p.mul(to, 1, number("a", "SI", 0), number("b", "DX", 0))
	results(to)
	p.end()

	p.begin("// cubeAVX512: out = a³ + 7.", "cubeAVX512", 0, out, a)
	p.load()
	to = number("out", "DI", 0)
	p.sqr(to, 1, number("a", "SI", 0))
	p.mul(to, 1, to, number("a", "SI", 0))
	p.addSmall(to, 7)
	results(to)
	p.end()

	p.squarings()
	p.normalForms()
}

// addSmall adds a constant to the number in Z0 to Z4 and stores it.
func (p *printer) addSmall(v *value, n int64) {
	p.note("%s = %[1]s + %d", v.name, n)
	p.store(v, p.settle(p.inRegisters(v.top, 0, n)))
}

// inRegisters is the number in Z0 to Z4, with limb 4 up to top, as a sum; n is
// added to column k.
func (p *printer) inRegisters(top int64, k int, n int64) *sum {
	s := &sum{registers: [6]int{5, 6, 7, 8, 9, 0}}
	for i := range 6 {
		s.columns[i] = newColumn()
		if i < 5 {
			p.op("VMOVDQA64", z(i), z(s.registers[i]))
			s.columns[i].addMax((&value{top: top}).bound(i))
		}
	}
	s.columns[5] = newColumn()
	p.addConstant(s, k, n)
	return s
}

// squarings prints sqrnAVX512: two numbers are squared in turns, since each
// squaring waits for the one before it and fills half of the multipliers.
func (p *printer) squarings() {
	p.begin("// squareAVX512 squares a and b n times, n > 0.", "squareAVX512", 0,
		pointer{"a", "DI"}, pointer{"b", "SI"}, pointer{"n", "CX"})
	p.load()
	p.label("squarings")
	for _, v := range []*value{number("a", "DI", 0), number("b", "SI", 0)} {
		p.sqr(v, 1, v)
		results(v)
	}
	p.op("DECQ", "CX")
	p.op("JNZ", "squarings")
	p.end()
}

// normalForms prints what needs the one number below p of its class.
func (p *printer) normalForms() {
	p.begin(`// normalAVX512: out = a, below p. It returns the lanes in which that is zero.`, "normalAVX512", 8,
		pointer{"out", "DI"}, pointer{"a", "SI"})
	p.load()
	p.fetch(number("a", "SI", 0))
	p.normal(ample)
	p.store(number("out", "DI", 0), reduced)
	p.zeros("AX")
	p.op("MOVQ", "AX", "ret+16(FP)")
	p.end()

	p.begin(`// rootAVX512: y becomes p - y where its lowest bit is not that of odd. It returns the
// lanes in which y² = square.`, "rootAVX512", 8,
		pointer{"y", "DI"}, pointer{"square", "SI"}, pointer{"odd", "DX"}, pointer{"t", "R8"})
	p.load()
	y, square := number("y", "DI", 0), number("square", "SI", 0)
	t := scratches("R8", 1)
	p.sqr(t[0], 1, y, term{-1, square})
	p.normal(t[0].top)
	p.zeros("AX")
	p.fetch(y)
	p.normal(y.top)
	p.note("K1: the lanes to negate")
	p.op("VPXORQ", "(DX)", z(0), z(scratch))
	p.op("VPTESTMQ.BCST", p.constant(1), z(scratch), "K1")
	p.negate()
	p.store(y, reduced)
	p.op("MOVQ", "AX", "ret+32(FP)")
	p.end()
}

// normal brings the number in Z0 to Z4 below p. One fold of what is above 2^256
// leaves less than 2^256 + 2^40, so that p goes into it once at most: if adding
// 2^256 - p reaches 2^256.
func (p *printer) normal(top int64) {
	p.note("normal form")
	if left := p.settle(p.inRegisters(top, 0, 0)); left > reduced+1 {
		panic("gen: p may go in twice")
	}
	p.op("VPADDQ", z(foldSmall), z(0), z(5))
	for k := range 4 {
		p.op("VPSRLQ", fmt.Sprint("$", limbBits), z(k+5), z(scratch))
		p.op("VPADDQ", z(scratch), z(k+1), z(k+6))
	}
	p.op("VPTESTMQ.BCST", p.constant(reduced+1), z(9), "K2")
	for k := range 4 {
		p.op("VPANDQ", z(mask), z(k+5), "K2", z(k))
	}
	p.op("VPANDQ.BCST", p.constant(reduced), z(9), "K2", z(4))
}

// zeros puts the lanes in which Z0 to Z4 are zero into a general register.
func (p *printer) zeros(register string) {
	p.op("VPORQ", z(0), z(1), z(scratch))
	for k := 2; k < 5; k++ {
		p.op("VPORQ", z(k), z(scratch), z(scratch))
	}
	p.op("VPTESTNMQ", z(scratch), z(scratch), "K2")
	p.op("KMOVB", "K2", register)
}

// negate subtracts the number in Z0 to Z4, which is below p, from p in the lanes of
// K1.
func (p *printer) negate() {
	limbs := [5]uint64{limbMax + 1 - small, limbMax, limbMax, limbMax, reduced}
	for k, l := range limbs {
		p.op("VPBROADCASTQ", p.constant(l), z(scratch))
		p.op("VPSUBQ", z(k), z(scratch), "K1", z(k))
	}
	for k := range 4 { // a limb that is negative borrows
		p.op("VPSRAQ", fmt.Sprint("$", limbBits), z(k), z(scratch))
		p.op("VPANDQ", z(mask), z(k), z(k))
		p.op("VPADDQ", z(scratch), z(k+1), z(k+1))
	}
}

// pointBytes and affineBytes are the sizes of points in memory, scratchBytes that of
// what the operations on one may overwrite.
const (
	pointBytes   = 3 * numberBytes
	affineBytes  = 2 * numberBytes
	scratchBytes = 8 * numberBytes
)

// points prints doubling and addition in Jacobian coordinates: (X, Y, Z) is
// (X/Z², Y/Z³). There are no cases: Z becomes zero where the formula has none and
// stays so.
//
// Most of a formula's multiplications wait for each other and leave the multipliers
// idle half of the time, so there are functions for two vectors of points as well,
// side by side in memory, whose multiplications take turns.
func (p *printer) points() {
	p.double("double", "a vector of points", 1)
	p.double("doublePair", "two vectors of points", 2)
	p.add("add", "a vector of points with Z = 1, to p, and leaves in h by what Z was multiplied", 1)
	p.add("addPair", "two vectors of points with Z = 1, to p, and leaves in h by what Z was multiplied", 2)
}

// double prints the formula of dbl-2009-l (Bernstein and Lange) with 4·X·Y² computed
// directly.
func (p *printer) double(name, what string, vectors int) {
	p.begin(fmt.Sprintf("// %sAVX512 doubles %s n times, n > 0.", name, what), name+"AVX512", 0,
		pointer{"p", "DI"}, pointer{"n", "CX"}, pointer{"t", "R8"})
	p.load()
	p.label("doublings")
	var all []*jacobian
	for i := range vectors {
		all = append(all, newJacobian(i))
	}
	each := func(step func(v *jacobian)) {
		for _, v := range all {
			step(v)
		}
	}
	each(func(v *jacobian) { p.sqr(v.t[1], 1, v.y) })
	each(func(v *jacobian) { p.sqr(v.t[0], 3, v.x) })
	each(func(v *jacobian) { p.mul(v.t[2], 1, v.t[1], v.x) })
	each(func(v *jacobian) { p.mul(v.z, 2, v.y, v.z) })
	each(func(v *jacobian) { p.sqr(v.x, 1, v.t[0], term{-8, v.t[2]}) })
	each(func(v *jacobian) { p.sqr(v.t[3], 1, v.t[1]) })
	each(func(v *jacobian) { p.lin(v.t[4], term{4, v.t[2]}, term{-1, v.x}) })
	each(func(v *jacobian) { p.mul(v.y, 1, v.t[4], v.t[0], term{-8, v.t[3]}) })
	each(func(v *jacobian) { results(v.x, v.y, v.z) })
	p.op("DECQ", "CX")
	p.op("JNZ", "doublings")
	p.end()
}

// add prints the addition of a point with Z = 1.
func (p *printer) add(name, what string, vectors int) {
	p.begin(fmt.Sprintf("// %sAVX512 adds q, %s.", name, what), name+"AVX512", 0,
		pointer{"p", "DI"}, pointer{"q", "SI"}, pointer{"h", "DX"}, pointer{"t", "R8"})
	p.load()
	var all []*jacobian
	for i := range vectors {
		all = append(all, newJacobian(i))
	}
	each := func(step func(v *jacobian)) {
		for _, v := range all {
			step(v)
		}
	}
	each(func(v *jacobian) { p.sqr(v.t[0], 1, v.z) })
	each(func(v *jacobian) { p.mul(v.h, 1, v.t[0], v.x2, term{-1, v.x}) })
	each(func(v *jacobian) { p.mul(v.t[1], 1, v.t[0], v.z) })
	each(func(v *jacobian) { p.sqr(v.t[3], 1, v.h) })
	each(func(v *jacobian) { p.mul(v.t[2], 1, v.t[1], v.y2, term{-1, v.y}) })
	each(func(v *jacobian) { p.mul(v.t[4], 1, v.t[3], v.h) })
	each(func(v *jacobian) { p.mul(v.t[5], 1, v.t[3], v.x) })
	each(func(v *jacobian) { p.sqr(v.x, 1, v.t[2], term{-1, v.t[4]}, term{-2, v.t[5]}) })
	each(func(v *jacobian) { p.mul(v.z, 1, v.h, v.z) })
	each(func(v *jacobian) { p.mul(v.t[7], 1, v.t[4], v.y) })
	each(func(v *jacobian) { p.lin(v.t[6], term{1, v.t[5]}, term{-1, v.x}) })
	each(func(v *jacobian) { p.mul(v.y, 1, v.t[6], v.t[2], term{-1, v.t[7]}) })
	each(func(v *jacobian) { results(v.x, v.y, v.z, v.h) })
	p.end()
}

// jacobian is what an operation on one vector of points has in memory.
type jacobian struct {
	x, y, z *value // the point
	x2, y2  *value // what is added to it
	h       *value
	t       []*value
}

func newJacobian(i int) *jacobian {
	v := &jacobian{
		x:  number("X", "DI", i*pointBytes),
		y:  number("Y", "DI", i*pointBytes+numberBytes),
		z:  number("Z", "DI", i*pointBytes+2*numberBytes),
		x2: number("x", "SI", i*affineBytes),
		y2: number("y", "SI", i*affineBytes+numberBytes),
		h:  number("h", "DX", i*numberBytes),
		t:  scratches("R8", 8),
	}
	for _, t := range v.t {
		t.offset += i * scratchBytes
	}
	return v
}
