package wasm

// The engine checks every address against the memory's size, with 60 bytes of code, unless
// it has checked the same value for as much before. Go's compiler gives it a new value each
// time, the lower half of a pointer taken once more (i32.wrap_i64), and goes through a
// record from its beginning, so that every field lies beyond what was checked. So the
// loader
//
//   - keeps the lower half of a local in a local of its own until the first one changes,
//   - and where code without branches and calls goes on from an address to higher ones,
//     loads the byte at the end of the highest first.
//
// A load that is outside of memory is a trap, a little before the trap that would have
// been: nothing that happens in between outlives a trap, and what was charged is the same.

// addresses is what the scan of a function knows of addresses where it is.
type addresses struct {
	pointers []pointer // locals
	halves   []half    // of pointers that have one, outermost frames first
	operands []int     // on the stack: 1 + which of reaches, 0 for what is no such address
	stretch  int       // number of the stretch
}

// pointer is a local that may hold an address, in 64 bits.
type pointer struct {
	half    int    // 1 + the edit where its lower half was taken; 0 if it may have changed
	temp    uint32 // 1 + the extra local that keeps the lower half; 0 if it has none
	stretch int    // in which its lower half has a reach
	reach   int    // 1 + which
}

// half says up to which frame's end the lower half of a local is known.
type half struct {
	local uint32
	depth int
}

// reach is how far a stretch, which is code without branches and calls, goes from an
// address: the ends of the first access and of the farthest, bytes behind it.
type reach struct{ first, most uint64 }

// maxReach is how far at most a byte is loaded ahead.
const maxReach = 1 << 20

// prepare forgets the last function and takes the next, of that many parameters and locals.
func (a *addresses) prepare(locals uint32) {
	a.pointers = append(a.pointers[:0], make([]pointer, locals)...)
	a.halves, a.operands, a.stretch = a.halves[:0], a.operands[:0], 1
}

// pop takes n operands and returns the lowest.
func (a *addresses) pop(n int) (lowest int) {
	left := len(a.operands) - n
	if left < 0 { // some are of an earlier stretch
		left = 0
	} else if n > 0 {
		lowest = a.operands[left]
	}
	a.operands = a.operands[:left]
	return lowest
}

// forget drops the lower halves that were taken in frames of that depth and deeper.
func (a *addresses) forget(depth int) {
	for n := len(a.halves); n > 0 && a.halves[n-1].depth >= depth; n-- {
		a.pointers[a.halves[n-1].local].half = 0
		a.halves = a.halves[:n-1]
	}
}

// follow goes past an instruction at an offset. s.last is the one before, but for the
// index, which is this one's if it has any.
func (s *scanner) follow(op byte, at int) {
	pops, push, ok := operands(op)
	if !ok || s.dead || s.r.err != nil {
		s.stretch++
		s.operands = s.operands[:0]
		return
	}
	lowest, value := s.pop(pops), 0
	switch i := s.last.index; {
	case op == opLocalSet || op == opLocalTee:
		s.pointers[i].half, s.pointers[i].stretch = 0, 0
	case op == opI32WrapI64 && s.last.op == opLocalGet && s.last.end == at:
		value = s.lower(i)
	case shapes[op] == memarg && lowest > 0:
		r, end := &s.reaches[lowest-1], uint64(i)+accessBytes(op)
		if r.first == 0 {
			r.first = end
		}
		r.most = max(r.most, end)
	}
	if push {
		s.operands = append(s.operands, value)
	}
}

// lower notes that the lower half of a local was taken, for the first time since the
// local changed or once more, and returns 1 + which reach it has.
func (s *scanner) lower(local uint32) int {
	p := &s.pointers[local]
	if p.half == 0 {
		s.edit(s.r.at, 0, editFirst, 0)
		p.half = len(s.edits)
		s.halves = append(s.halves, half{local, len(s.frames)})
	} else {
		if p.temp == 0 {
			s.temps++
			p.temp = s.temps
		}
		first := &s.edits[p.half-1]
		first.kind, first.arg = editKeep, p.temp-1
		s.edit(s.last.at, s.r.at-s.last.at, editKept, p.temp-1)
	}
	if p.stretch != s.stretch {
		s.reaches = append(s.reaches, reach{})
		p.stretch, p.reach = s.stretch, len(s.reaches)
		s.edits[len(s.edits)-1].reach = p.reach
	}
	return p.reach
}

// ahead loads the last byte that the reach of an edit comes to, if that is not of its first
// access.
func (in *instrumenter) ahead(e *encoder, ed *edit, local uint32) {
	if ed.reach == 0 {
		return
	}
	r := &in.scan.reaches[ed.reach-1]
	if r.most == r.first || r.most > maxReach {
		return
	}
	e.idx(opLocalGet, local)
	e.op(opI32Load8U, 0)
	e.u32(uint32(r.most - 1))
	e.op(opDrop)
}
