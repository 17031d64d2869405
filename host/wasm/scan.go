package wasm

import "fmt"

// scanner reads one function body: it refuses instructions outside the contract
// and finds the places where instrumentation goes.
//
// Cost is charged per region. A region is entered at its leader (the function's
// start, a loop's header, the end of a block that a branch targets) and holds
// every instruction whose execution is dominated by that leader and happens at
// most once per entry. So what a region charges is never less than the work done
// in it, and a branch inside a region that skips part of it only overcharges.
//
// Compilers that cannot express their jumps in WebAssembly's structure, Go's among
// them, emit one loop around a function and jump through its header. A header
// that only dispatches is therefore not charged by itself: its cost goes to the
// regions that lead to it (see [scanner.spread]).
type scanner struct {
	m      *module
	r      reader
	where  string
	locals uint32 // parameters and locals
	frames []frame
	loops  []loop
	region int
	dead   bool // after an unconditional branch
	last   struct {
		op    byte
		at    int    // offset
		end   int    // offset behind it
		val   int64  // of an i32.const
		index uint32 // of the last one that names a local or an offset in memory
	}
	given struct { // the constant that a local was set to last
		local uint32
		val   int64
		end   int // offset behind it
	}
	addresses
	opened bool // a call or control instruction has been seen
	plan
}

// frame is an open block, loop, if or the function itself.
type frame struct {
	op       byte
	at       int  // offset of its opening
	region   int  // at its opening
	loop     int  // index in loops, of a loop
	targeted bool // by a branch
	dead     bool // opened in dead code
}

// loop is what charging a loop's header somewhere else takes.
type loop struct {
	region   int
	sources  []int     // regions that lead to the header: its opener's, its branches'
	dispatch *dispatch // nil if the header does something else
}

// plan is what a scan found out about one function.
type plan struct {
	edits    []edit
	costs    []int64 // of each region; 0 is the function's entry
	jumps    []jump  // what editJump is about
	calls    bool    // calls another function, so it may be part of a recursion
	headLoop bool    // a loop's header follows the entry before any call
	floats   bool
	bulk     bool // moves memory by a length that is not constant
	nan32    bool
	nan64    bool
	temps    uint32 // extra locals, for lower halves
	reaches  []reach
}

// total is the work of all regions.
func (p *plan) total() (n int64) {
	for _, c := range p.costs {
		n += c
	}
	return n
}

type editKind byte

const (
	editCharge editKind = iota // charge region arg
	editLoop                   // charge region arg and check the budget
	editHead                   // the same, and check the calls left
	editReturn                 // leave through arg labels
	editCall                   // call imported function arg
	editBulk                   // charge for a length on top of the stack
	editGrow                   // memory.grow
	editJump                   // branch, as jump arg says
	editFirst                  // nothing, or what it becomes: editKeep
	editKeep                   // keep the operand on top in extra local arg
	editKept                   // take it from there
	editNaN32
	editNaN64
)

// edit is a change of the code at an offset: skip bytes are replaced.
type edit struct {
	at, skip int
	kind     editKind
	arg      uint32
	reach    int // 1 + which of reaches begins here; 0 for none
}

// reset prepares for function i.
func (s *scanner) reset(i int) {
	f := &s.m.bodies[i]
	s.where = fmt.Sprintf("function %d", len(s.m.imports)+i)
	s.r = reader{b: f.code, base: f.offset}
	s.locals = uint32(f.count + len(s.m.types[s.m.funcs[i]].params))
	s.plan = plan{edits: s.edits[:0], jumps: s.jumps[:0], reaches: s.reaches[:0], costs: append(s.costs[:0], entryCost+int64(s.locals)/8)}
	s.frames = append(s.frames[:0], frame{op: opCall})
	s.loops = s.loops[:0]
	s.region, s.dead, s.opened = 0, false, false
	s.last.end, s.given.end = -1, -1
	s.prepare(min(s.locals, MaxLocals))
}

// entryCost is what being called costs, beside the caller's instruction.
const entryCost = 2

// scan reads function i of the code section.
func (s *scanner) scan(i int) error {
	s.reset(i)
	if s.locals > MaxLocals {
		return refuse(ErrLimit, s.where, "%d parameters and locals, limit %d", s.locals, MaxLocals)
	}
	for len(s.frames) > 0 && s.r.err == nil {
		s.instruction()
	}
	if s.r.err == nil && s.r.left() > 0 {
		s.r.fail("%d bytes after the function's end", s.r.left())
	}
	if s.r.err != nil {
		s.r.err.Where = s.where + " at " + s.r.err.Where
		return s.r.err
	}
	s.spread()
	return nil
}

// spread moves the cost of a loop's header region to the regions that lead to
// the header, inner loops first. One entry of such a region leads there at most
// once, so the sum stays at least the work done. A header region that itself
// leads to a header (a loop without inner regions) keeps its cost.
func (s *scanner) spread() {
	leads := make(map[int]bool, len(s.loops))
	for _, l := range s.loops {
		for _, r := range l.sources[1:] {
			leads[r] = true
		}
	}
	for i := len(s.loops) - 1; i >= 0; i-- {
		l := &s.loops[i]
		if leads[l.region] {
			continue
		}
		for _, r := range l.sources {
			s.costs[r] += s.costs[l.region]
		}
		s.costs[l.region] = 0
	}
}

func (s *scanner) edit(at, skip int, kind editKind, arg uint32) {
	s.edits = append(s.edits, edit{at, skip, kind, arg, 0})
}

func (s *scanner) cost(n int64) {
	if !s.dead {
		s.costs[s.region] += n
	}
}

// lead starts a region at the current offset.
func (s *scanner) lead(kind editKind) {
	s.region = len(s.costs)
	s.costs = append(s.costs, 0)
	s.edit(s.r.at, 0, kind, uint32(s.region))
}

func (s *scanner) instruction() {
	at := s.r.at
	op := s.r.u8()
	s.cost(weight(op))
	s.floats = s.floats || floats(op)
	switch shapes[op] {
	case refused:
		if s.r.err == nil {
			s.r.refuse(refuse(ErrFeature, s.r.where(), "instruction %#x (%s)", op, family(op)))
		}
	case plain:
		s.plain(op, at)
	case blockt:
		s.open(op, at)
	case labelIdx:
		label := s.r.u32()
		s.branch(label)
		if op == opBr {
			s.jump(at, label)
			s.dead = true
		}
	case table:
		s.branchTable()
	case funcIdx:
		s.call(at)
	case indirect:
		s.callIndirect()
	case localIdx:
		i := s.r.u32()
		s.index("local", i, int(s.locals))
		s.last.index = i
		if op == opLocalSet && s.last.op == opI32Const && s.last.end == at {
			s.given.local, s.given.val, s.given.end = i, s.last.val, s.r.at
		}
	case globalG, globalS:
		s.global(op)
	case memarg:
		s.r.u32()
		s.last.index = s.r.u32()
	case memZero:
		s.zero("memory")
		if op == opMemoryGrow {
			s.edit(at, 2, editGrow, 0)
		}
	case const32:
		s.last.val = s.r.signed(32)
	case const64:
		s.r.signed(64)
	case float4:
		s.r.take(4)
	case float8:
		s.r.take(8)
	case misc:
		s.misc(at)
	case nan32:
		s.nan32 = true
		s.edit(s.r.at, 0, editNaN32, 0)
	case nan64:
		s.nan64 = true
		s.edit(s.r.at, 0, editNaN64, 0)
	}
	s.follow(op, at)
	s.last.op, s.last.at, s.last.end = op, at, s.r.at
}

func (s *scanner) index(what string, i uint32, n int) {
	if uint64(i) >= uint64(n) {
		s.r.fail("%s %d of %d", what, i, n)
	}
}

func (s *scanner) zero(what string) {
	if b := s.r.u8(); b != 0 {
		s.r.fail("%s index %d, there is only 0", what, b)
	}
}

func (s *scanner) plain(op byte, at int) {
	switch op {
	case opElse:
		s.otherwise()
	case opEnd:
		s.close()
	case opReturn:
		s.edit(at, 1, editReturn, uint32(len(s.frames)-1))
		s.dead = true
	case opUnreachable:
		s.dead = true
	}
}

func (s *scanner) open(op byte, at int) {
	if t := s.r.u8(); t != blockEmpty && (t < byte(typeF64) || t > byte(typeI32)) && s.r.err == nil {
		s.r.refuse(refuse(ErrFeature, s.r.where(), "block type %#x (multi-value)", t))
		return
	}
	s.frames = append(s.frames, frame{op: op, at: at, region: s.region, dead: s.dead})
	if op == opLoop && !s.dead {
		s.openLoop()
	}
	s.opened = s.opened || op != opBlock // entering a block goes nowhere
}

func (s *scanner) openLoop() {
	s.forget(0) // what changes in the loop is not known yet
	kind := editLoop
	if !s.opened {
		kind, s.headLoop = editHead, true
	}
	s.frames[len(s.frames)-1].loop = len(s.loops)
	s.loops = append(s.loops, loop{region: len(s.costs), sources: []int{s.region}, dispatch: s.dispatcher()})
	s.lead(kind)
}

// otherwise goes from the first arm of an if to its else.
func (s *scanner) otherwise() {
	f := &s.frames[len(s.frames)-1]
	if f.op != opIf {
		s.r.fail("else without if")
		return
	}
	f.op = opElse
	s.forget(len(s.frames))
	s.region, s.dead = f.region, f.dead
}

// close leaves a block. Behind one that a branch targets a region starts; behind
// any other, control comes only from inside and once per opening, so its opener's
// region goes on.
func (s *scanner) close() {
	f := s.frames[len(s.frames)-1]
	s.forget(len(s.frames))
	s.frames = s.frames[:len(s.frames)-1]
	if len(s.frames) == 0 {
		return
	}
	s.region, s.dead = f.region, f.dead
	if f.targeted && f.op != opLoop && !s.dead {
		s.lead(editCharge)
	}
}

func (s *scanner) branch(label uint32) {
	if int64(label) >= int64(len(s.frames)) {
		s.r.fail("branch to label %d of %d", label, len(s.frames))
		return
	}
	f := &s.frames[len(s.frames)-1-int(label)]
	f.targeted = true
	s.opened = true
	if f.op == opLoop && !s.dead {
		s.loops[f.loop].lead(s.region)
	}
}

// lead notes a branch to the header from a region.
func (l *loop) lead(region int) {
	if i := len(l.sources) - 1; i == 0 || l.sources[i] != region {
		l.sources = append(l.sources, region)
	}
}

func (s *scanner) branchTable() {
	for range s.r.count("branch targets", MaxFunctionBytes) {
		s.branch(s.r.u32())
	}
	s.branch(s.r.u32())
	s.dead = true
}

func (s *scanner) call(at int) {
	f := s.r.u32()
	s.index("function", f, s.m.functions())
	s.opened = true
	if int(f) < len(s.m.imports) {
		s.edit(at, s.r.at-at, editCall, f)
	}
	s.calls = true
}

func (s *scanner) callIndirect() {
	s.index("type", s.r.u32(), len(s.m.types))
	s.zero("table")
	if !s.m.hasTable {
		s.r.fail("call_indirect without a table")
	}
	s.opened, s.calls = true, true
}

func (s *scanner) global(op byte) {
	i := s.r.u32()
	s.index("global", i, len(s.m.globals))
	if s.r.err == nil && op == opGlobalSet && !s.m.globals[i].mutable {
		s.r.fail("global %d is immutable", i)
	}
}

// misc reads an instruction behind 0xfc: saturating conversions and bulk memory.
func (s *scanner) misc(at int) {
	switch sub := s.r.u32(); {
	case s.r.err != nil:
	case sub < 8:
		s.floats = true
	case sub == miscMemoryCopy || sub == miscMemoryFill:
		for range 12 - sub {
			s.zero("memory")
		}
		s.length(at)
	default:
		s.r.refuse(refuse(ErrFeature, s.r.where(), "%s", miscName(sub)))
	}
}

// length charges for moving as many bytes as the top of the stack says: with its
// region if an i32.const just before says how many, at run time otherwise.
func (s *scanner) length(at int) {
	if s.last.op == opI32Const && s.last.end == at && s.last.val >= 0 && s.last.val <= maxConstantLength {
		s.cost(s.last.val / bytesPerUnit)
		return
	}
	s.bulk = true
	s.edit(at, 0, editBulk, 0)
}

const (
	bytesPerUnit      = 8       // memory bytes moved for one unit of budget
	maxConstantLength = 1 << 20 // longer ones are checked before they run
)
