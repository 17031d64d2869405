package wasm

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	"github.com/kaizenchain/kaizen/host/secp"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// A random program is made as code and, beside it, as closures that do the same
// in Go and count the work: a second implementation of what the engines and the
// meter are supposed to come to.

// env is a function call of the Go side.
type env struct {
	locals []uint32
	work   *int64
}

// signal is how a statement ended: going on, returning, or a branch to a label.
type signal int

const (
	goOn      signal = -1
	returning signal = -2
)

type expr struct {
	code []byte
	eval func(*env) uint32
}

type stmt struct {
	code []byte
	run  func(*env) signal
}

type callee struct {
	index uint32
	call  func(arg uint32, work *int64) uint32
}

// generator makes one function: local 0 is the argument, then variables, then a
// counter for each nesting of loops.
type generator struct {
	r       *rand.Rand
	callees []callee
	loops   []int // for each label, innermost last: its counter local, or -1
}

const (
	variables = 3
	maxLoops  = 3
	nLocals   = 1 + variables + maxLoops
)

func (e *env) count(ops ...byte) {
	for _, op := range ops {
		*e.work += weight(op)
	}
}

func (g *generator) expr(depth int) expr {
	if depth == 0 {
		return g.leafExpr()
	}
	switch g.r.Intn(8) {
	case 0:
		return g.ifExpr(depth)
	case 1:
		if len(g.callees) > 0 {
			return g.callExpr(depth)
		}
		fallthrough
	case 2:
		a := g.expr(depth - 1)
		return expr{code(a.code, 0x45), func(e *env) uint32 {
			v := a.eval(e)
			e.count(0x45)
			if v == 0 {
				return 1
			}
			return 0
		}}
	case 3, 4:
		return g.leafExpr()
	}
	return g.binary(depth)
}

func (g *generator) leafExpr() expr {
	if g.r.Intn(2) == 0 {
		v := g.r.Int31() >> g.r.Intn(32)
		return expr{constant(v), func(e *env) uint32 { e.count(opI32Const); return uint32(v) }}
	}
	i := g.r.Intn(1 + variables)
	return expr{code(opLocalGet, i), func(e *env) uint32 { e.count(opLocalGet); return e.locals[i] }}
}

func (g *generator) binary(depth int) expr {
	ops := []struct {
		op byte
		do func(a, b uint32) uint32
	}{
		{0x6a, func(a, b uint32) uint32 { return a + b }},
		{0x6b, func(a, b uint32) uint32 { return a - b }},
		{0x6c, func(a, b uint32) uint32 { return a * b }},
		{0x73, func(a, b uint32) uint32 { return a ^ b }},
		{0x76, func(a, b uint32) uint32 { return a >> (b & 31) }},
	}
	o := ops[g.r.Intn(len(ops))]
	a, b := g.expr(depth-1), g.expr(depth-1)
	return expr{code(a.code, b.code, o.op), func(e *env) uint32 {
		x := a.eval(e)
		y := b.eval(e)
		e.count(o.op)
		return o.do(x, y)
	}}
}

func (g *generator) ifExpr(depth int) expr {
	c, a, b := g.expr(depth-1), g.expr(depth-1), g.expr(depth-1)
	return expr{code(c.code, opIf, 0x7f, a.code, opElse, b.code, opEnd), func(e *env) uint32 {
		v := c.eval(e)
		e.count(opIf)
		if v != 0 {
			return a.eval(e)
		}
		return b.eval(e)
	}}
}

func (g *generator) callExpr(depth int) expr {
	f := g.callees[g.r.Intn(len(g.callees))]
	a := g.expr(depth - 1)
	return expr{code(a.code, callTo(f.index)), func(e *env) uint32 {
		v := a.eval(e)
		e.count(opCall)
		return f.call(v, e.work)
	}}
}

// stmts is a sequence; what stands behind a branch is dead code.
func (g *generator) stmts(depth int) stmt {
	list := make([]stmt, 1+g.r.Intn(3))
	var all []byte
	for i := range list {
		list[i] = g.stmt(depth)
		all = append(all, list[i].code...)
	}
	return stmt{all, func(e *env) signal {
		for _, s := range list {
			if sig := s.run(e); sig != goOn {
				return sig
			}
		}
		return goOn
	}}
}

func (g *generator) stmt(depth int) stmt {
	if depth > 0 {
		switch g.r.Intn(6) {
		case 0:
			return g.labelled(opBlock, depth)
		case 1:
			return g.ifStmt(depth)
		case 2:
			return g.loopStmt(depth)
		case 3:
			return g.branchStmt()
		}
	}
	i := 1 + g.r.Intn(variables)
	v := g.expr(2)
	return stmt{code(v.code, 0x21, i), func(e *env) signal {
		x := v.eval(e)
		e.count(0x21)
		e.locals[i] = x
		return goOn
	}}
}

// leave takes a branch signal past one label.
func leave(sig signal) (signal, bool) {
	switch {
	case sig == 0:
		return goOn, true
	case sig > 0:
		return sig - 1, false
	}
	return sig, false
}

func (g *generator) within(counter int, f func() stmt) stmt {
	g.loops = append(g.loops, counter)
	s := f()
	g.loops = g.loops[:len(g.loops)-1]
	return s
}

func (g *generator) labelled(op byte, depth int) stmt {
	s := g.within(-1, func() stmt { return g.stmts(depth - 1) })
	return stmt{code(op, 0x40, s.code, opEnd), func(e *env) signal {
		sig, _ := leave(s.run(e))
		return sig
	}}
}

func (g *generator) ifStmt(depth int) stmt {
	c := g.expr(2)
	yes := g.within(-1, func() stmt { return g.stmts(depth - 1) })
	no := g.within(-1, func() stmt { return g.stmts(depth - 1) })
	return stmt{code(c.code, opIf, 0x40, yes.code, opElse, no.code, opEnd), func(e *env) signal {
		arm := no
		v := c.eval(e)
		e.count(opIf)
		if v != 0 {
			arm = yes
		}
		sig, _ := leave(arm.run(e))
		return sig
	}}
}

// loopStmt is a loop whose counter bounds how often anything inside may branch to
// its header.
func (g *generator) loopStmt(depth int) stmt {
	nested := 0
	for _, c := range g.loops {
		if c >= 0 {
			nested++
		}
	}
	if nested == maxLoops {
		return g.labelled(opBlock, depth)
	}
	counter := 1 + variables + nested
	times := int32(2 + g.r.Intn(6))
	body := g.within(counter, func() stmt { return g.stmts(depth - 1) })
	back := code(again(counter), opBrIf, 0)
	return stmt{code(constant(times), 0x21, counter, opLoop, 0x40, body.code, back, opEnd), func(e *env) signal {
		e.count(opI32Const, 0x21)
		e.locals[counter] = uint32(times)
		for {
			sig, header := leave(body.run(e))
			if sig == goOn && !header {
				header = e.again(counter)
				e.count(opBrIf)
			}
			if !header {
				return sig
			}
		}
	}}
}

// again is the code that counts down and leaves whether to go on.
func again(counter int) []byte {
	return code(opLocalGet, counter, constant(1), 0x6b, opLocalTee, counter, constant(0), 0x4a)
}

func (e *env) again(counter int) bool {
	e.count(opLocalGet, opI32Const, 0x6b, opLocalTee, opI32Const, 0x4a)
	e.locals[counter]--
	return int32(e.locals[counter]) > 0
}

// branchStmt leaves to a random label, or the function; to a loop's header only
// as long as its counter allows.
func (g *generator) branchStmt() stmt {
	if len(g.loops) == 0 || g.r.Intn(6) == 0 {
		v := g.expr(1)
		return stmt{code(v.code, opReturn), func(e *env) signal {
			e.locals[1] = v.eval(e)
			e.count(opReturn)
			return returning
		}}
	}
	label := g.r.Intn(len(g.loops))
	counter := g.loops[len(g.loops)-1-label]
	if counter >= 0 {
		return stmt{code(again(counter), opBrIf, label), func(e *env) signal {
			more := e.again(counter)
			e.count(opBrIf)
			if more {
				return signal(label)
			}
			return goOn
		}}
	}
	switch g.r.Intn(3) {
	case 0:
		return stmt{code(opBr, label), func(e *env) signal { e.count(opBr); return signal(label) }}
	case 1:
		return g.tableStmt(label)
	}
	c := g.expr(1)
	return stmt{code(c.code, opBrIf, label), func(e *env) signal {
		v := c.eval(e)
		e.count(opBrIf)
		if v != 0 {
			return signal(label)
		}
		return goOn
	}}
}

// tableStmt branches to one of the labels that are no loops.
func (g *generator) tableStmt(label int) stmt {
	targets := []int{label}
	for l := range g.loops {
		if g.loops[len(g.loops)-1-l] < 0 {
			targets = append(targets, l)
		}
	}
	var labels []byte
	for _, l := range targets {
		labels = append(labels, byte(l))
	}
	i := g.leafExpr()
	return stmt{code(i.code, opBrTable, len(targets)-1, labels), func(e *env) signal {
		v := i.eval(e)
		e.count(opBrTable)
		return signal(targets[min(v, uint32(len(targets)-1))])
	}}
}

// function adds a random function to a.
func (g *generator) function(a *asm) callee {
	s := g.stmts(4)
	last := g.expr(2)
	locals := make([]valType, nLocals-1)
	for i := range locals {
		locals[i] = typeI32
	}
	index := a.fn(funcType{i32, i32}, locals, code(s.code, last.code))
	return callee{index, func(arg uint32, work *int64) uint32 {
		*work += entryCost + nLocals/8
		e := &env{locals: make([]uint32, nLocals), work: work}
		e.locals[0] = arg
		if s.run(e) == returning {
			return e.locals[1]
		}
		return last.eval(e)
	}}
}

// TestRandomPrograms: the engines agree with each other and with the Go twin on
// the result, and the charge is never below the work.
func TestRandomPrograms(t *testing.T) {
	var charged, worked int64
	for seed := range int64(400) {
		g := &generator{r: rand.New(rand.NewSource(seed))}
		a := newASM()
		for range 1 + g.r.Intn(4) {
			g.callees = append(g.callees, g.function(a))
		}
		f := g.callees[len(g.callees)-1]
		a.execute([]valType{typeI64}, constant(asmInput+abi.ContextBytes), 0x28, 2, 0, callTo(f.index), opI64ExtendU, a.result(1))
		file := a.bytes()
		var work int64
		arg := g.r.Uint32() >> g.r.Intn(32)
		want := f.call(arg, &work)
		if work > abi.TxBudget/8 {
			continue
		}
		out, left := onBoth(t, file, binary.LittleEndian.AppendUint32(nil, arg))
		if out.Code != 0 || binary.LittleEndian.Uint32(out.Events[0]) != want {
			t.Fatalf("seed %d: %+v, want %#x", seed, out, want)
		}
		units := abi.TxBudget - int64(left)>>callBits
		if units < work || left&uint64(oneUnit-1) != abi.MaxCallDepth {
			t.Fatalf("seed %d: charged %d for work of %d, %d calls left", seed, units, work, left&uint64(oneUnit-1))
		}
		charged, worked = charged+units, worked+work
	}
	t.Logf("charged %d units for work of %d", charged, worked)
	if worked == 0 || charged > 4*worked {
		t.Fatalf("charged %d for %d", charged, worked)
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

// TestChargesStay: what code costs is part of the contract, since two hosts that
// charge differently disagree about which transaction ran out of budget. A change
// of the golden file is a new ABI version.
func TestChargesStay(t *testing.T) {
	var got strings.Builder
	for seed := range int64(40) {
		b := newBlock(t, load(t, randomModule(seed), Compiler))
		fmt.Fprintln(&got, seed, b.result([]byte{1, 2, 3, 4}))
	}
	const golden = "testdata/charges.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Fatalf("charged\n%s\nwant\n%s", got.String(), want)
	}
}

// mutate changes a few bytes of a file, mostly of its code.
func mutate(r *rand.Rand, file []byte, codeAt int) []byte {
	m := append([]byte(nil), file...)
	from := codeAt
	if r.Intn(4) == 0 {
		from = len(header)
	}
	for range 1 + r.Intn(2) {
		m[from+r.Intn(len(m)-from)] = byte(r.Intn(256))
	}
	return m
}

// TestMutatedModules: whatever random bytes do to a module, both engines refuse it
// alike or run it alike.
func TestMutatedModules(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	seeds := [][]byte{stateful(), recursive(), randomModule(7), randomModule(11)}
	ran := 0
	for i := range 3000 {
		seed := seeds[i%len(seeds)]
		m, err := parse(seed)
		if err != nil {
			t.Fatal(err)
		}
		file := mutate(r, seed, m.bodies[0].offset)
		a, b := outcomeOf(file, Compiler), outcomeOf(file, Interpreter)
		if a != b {
			t.Fatalf("mutation %d differs: %x\n%s\n%s", i, file, a, b)
		}
		if strings.HasPrefix(a, "ran") {
			ran++
		}
	}
	t.Logf("%d mutations ran", ran)
	if ran < 100 {
		t.Fatalf("only %d mutations ran", ran)
	}
}

func randomModule(seed int64) []byte {
	g := &generator{r: rand.New(rand.NewSource(seed))}
	a := newASM()
	f := g.function(a)
	a.execute([]valType{typeI64}, constant(asmInput+abi.ContextBytes), 0x28, 2, 0, callTo(f.index), opI64ExtendU, a.result(1))
	return a.bytes()
}

// outcomeOf loads a module and runs two transactions, in words.
func outcomeOf(file []byte, e Engine) string {
	p, err := Load(context.Background(), file, Options{Engine: e, Crypto: secp.Crypto{}})
	if err != nil {
		return "refused: " + err.Error()
	}
	defer p.Close()
	m, err := p.NewMachine()
	if err != nil {
		return "no machine: " + err.Error()
	}
	defer m.Close()
	b := &block{m: m}
	b.ov = newOverlay()
	var s strings.Builder
	out, err := m.BeginBlock(b.ov, testContext, noPrices)
	fmt.Fprintf(&s, "ran %+v %v", out, err)
	for _, tx := range [][]byte{{1, 2, 3, 4}, {1}} {
		out, err := m.Execute(b.ov, testContext, &stf.Tx{Raw: tx})
		fmt.Fprintf(&s, "\n%+v %v %#x", out, err, b.left())
	}
	return s.String()
}
