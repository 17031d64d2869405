package wasm

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"testing"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Locals of a function that dispatches: where to go, a result, and how many jumps may
// still be made.
const (
	whereTo = 1 + iota
	soFar
	jumpsLeft
)

// dispatching is a random function as Go's compiler makes them: blocks in a row, each of
// which jumps to others, and a table that sends two values to some. between
// stands between setting the local and the branch to the header.
func dispatching(r *rand.Rand, between []byte) []byte {
	n := 2 + r.Intn(6)
	var table []byte
	for _, block := range append(r.Perm(n), r.Perm(n)[:1+r.Intn(n)]...) {
		table = append(table, byte(block))
	}
	if r.Intn(8) == 0 {
		table[r.Intn(len(table))] = byte(n) // the loop itself, for ever
	}
	header := code(opLocalGet, whereTo, opBrTable, len(table)-1, table)
	if r.Intn(4) == 0 {
		header = code(0x01, header) // no dispatch
	}
	c := code(opLoop, 0x40)
	for range n {
		c = code(c, opBlock, 0x40)
	}
	c = code(c, header)
	for i := range n {
		labels := n - 1 - i // of the loop
		c = code(c, opEnd, opLocalGet, soFar, constant(31), 0x6c, constant(int32(i+1)), 0x6a, opLocalSet, soFar)
		c = code(c, opLocalGet, jumpsLeft, constant(1), 0x6b, opLocalTee, jumpsLeft, 0x45, opIf, 0x40, opLocalGet, soFar, opReturn, opEnd)
		c = code(c, opLocalGet, soFar, constant(1<<r.Intn(4)), 0x71, opIf, 0x40, jumpTo(r, n, labels+1, between), opEnd)
		if r.Intn(3) > 0 {
			c = code(c, jumpTo(r, n, labels, between))
		}
	}
	return code(c, opEnd, opLocalGet, soFar)
}

func jumpTo(r *rand.Rand, n, label int, between []byte) []byte {
	return code(constant(int32(r.Intn(2*n+1)-1)), opLocalSet, whereTo, between, opBr, label)
}

// dispatcher is a module that runs the function with as many jumps as the transaction says.
func dispatcher(seed int64, between []byte) []byte {
	a := newASM()
	f := a.fn(funcType{i32, i32}, []valType{typeI32, typeI32, typeI32},
		code(opLocalGet, 0, opLocalSet, jumpsLeft, dispatching(rand.New(rand.NewSource(seed)), between)))
	a.execute([]valType{typeI64}, constant(asmInput+abi.ContextBytes), 0x28, 2, 0, callTo(f), opI64ExtendU, a.result(1))
	return a.bytes()
}

// jumpsOf is how many branches of a module go to blocks instead of headers.
func jumpsOf(t *testing.T, file []byte) (n int) {
	t.Helper()
	m, err := parse(file)
	if err != nil {
		t.Fatal(err)
	}
	s := scanner{m: m}
	for i := range m.bodies {
		if err := s.scan(i); err != nil {
			t.Fatal(err)
		}
		for _, j := range s.jumps {
			if s.costs[j.region] == 0 {
				n++
			}
		}
	}
	return n
}

// TestJumps: a jump that does not go by the header comes to the same, is charged the same
// and ends with the budget at the same place as one that does, which is what it is with
// an empty block, which costs nothing, before the branch.
func TestJumps(t *testing.T) {
	taken, checked := 0, 0
	for seed := range int64(80) {
		direct, byHeader := dispatcher(seed, nil), dispatcher(seed, code(opBlock, 0x40, opEnd))
		taken += jumpsOf(t, direct)
		if n := jumpsOf(t, byHeader); n > 0 {
			t.Fatalf("seed %d: %d direct jumps past a block", seed, n)
		}
		jumps := binary.LittleEndian.AppendUint32(nil, uint32(1+seed%40))
		got, left := onBoth(t, direct, jumps)
		want, wantLeft := onBoth(t, byHeader, jumps)
		if fmt.Sprint(got) != fmt.Sprint(want) || left != wantLeft {
			t.Fatalf("seed %d: %+v, %#x left, by the header %+v, %#x", seed, got, left, want, wantLeft)
		}
		if needs := abi.TxBudget - int64(left)>>callBits; needs < 3000 && checked < 5 {
			sameBudgets(t, seed, direct, byHeader, needs)
			checked++
		}
	}
	if taken < 150 || checked < 5 {
		t.Errorf("%d direct jumps, %d compared by budgets", taken, checked)
	}
}

// sameBudgets runs two modules with every budget up to what they need.
func sameBudgets(t *testing.T, seed int64, a, b []byte, needs int64) {
	t.Helper()
	var ins [2]*instance
	for i, file := range [][]byte{a, b} {
		p := load(t, file, Compiler)
		in, err := p.instantiate(p.image)
		if err != nil {
			t.Fatal(err)
		}
		defer in.close()
		ins[i] = in
	}
	jumps := binary.LittleEndian.AppendUint32(nil, uint32(1+seed%40))
	for budget := int64(1); budget <= needs; budget++ {
		var outs [2]string
		for i, in := range ins {
			ov := newOverlay()
			out, err := in.run(&call{export: callExecute, phase: abi.PhaseExecute, budget: budget, view: ov, state: ov, tx: &stf.Tx{Raw: jumps}, ctx: &testContext, body: jumps})
			outs[i] = fmt.Sprintf("%+v %v %#x", out, err, in.meter.Get())
			if err := in.reset(); err != nil {
				t.Fatal(err)
			}
		}
		if outs[0] != outs[1] {
			t.Fatalf("seed %d with a budget of %d:\n%s\nby the header\n%s", seed, budget, outs[0], outs[1])
		}
	}
}
