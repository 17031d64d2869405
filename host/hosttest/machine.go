package hosttest

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Script is a stf.Program for tests of everything above it: a transaction is one
// line of text that says what to do.
//
//	set KEY VALUE    write
//	count KEY        write how many execute calls the machine's memory has seen
//	                 since the block began: what a module keeps in a global
//	fail KEY         write, then fail with code 1: the write is taken back
//	keep KEY         write before accept, then fail: the write stays
//	emit N SIZE      N events of SIZE bytes
//	trap             a trap after accept
//	late             admitted, and then refused by execute
//	refuse           refused by admit
//	bad              refused by inspect
//	end VALUE        makes the end hook write VALUE; "end trap" makes it trap
type Script struct{}

// ScriptHash is the module hash of Script.
var ScriptHash = chain.Hash(sha256.Sum256([]byte("hosttest.Script")))

var scriptSchema = `{"name":"script","version":"1","errors":[{"code":1,"name":"Failed"},{"code":2,"name":"Refused"},{"code":3,"name":"Malformed"}],
"events":[{"tag":1,"type":"set","fields":[{"name":"key","kind":"string"}]}]}`

// Hash implements stf.Program.
func (Script) Hash() chain.Hash { return ScriptHash }

// Schema implements stf.Program.
func (Script) Schema() *stf.Schema {
	s, err := stf.ParseSchema([]byte(scriptSchema))
	if err != nil {
		panic(err)
	}
	return s
}

// NewMachine implements stf.Program.
func (s Script) NewMachine() (stf.Machine, error) { return &scriptMachine{}, nil }

// NewInspector implements stf.Program.
func (s Script) NewInspector() (stf.Inspector, error) { return scriptInspector{}, nil }

// Query returns the value of the key that the query names, as a JSON string.
func (Script) Query(view stf.View, _ abi.Context, query []byte) (stf.Outcome, error) {
	v, ok := view.Get(query)
	if !ok {
		return stf.Outcome{Code: 1, Detail: "no such key"}, nil
	}
	return stf.Outcome{Output: fmt.Appendf(nil, "%q", v)}, nil
}

// Simulate implements stf.Program.
func (Script) Simulate(st stf.State, ctx abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	return (&scriptMachine{}).Execute(st, ctx, tx)
}

// Close implements stf.Program.
func (Script) Close() error { return nil }

type scriptInspector struct{}

func (scriptInspector) Inspect(txs ...*stf.Tx) error {
	for _, tx := range txs {
		tx.Leaf = chain.LeafHash(tx.Raw)
		tx.ID = sha256.Sum256(tx.Raw)
		if string(tx.Raw) == "bad" {
			tx.Refusal = &stf.Refusal{Code: 3, Name: "Malformed"}
		}
	}
	return nil
}

func (scriptInspector) Close() error { return nil }

type scriptMachine struct {
	s     stf.Session
	calls int
	end   string
}

// Refresh implements stf.Machine.
func (m *scriptMachine) Refresh() error { return nil }

func (m *scriptMachine) Close() error { return nil }

func (m *scriptMachine) Genesis(st stf.State, document []byte) (stf.Outcome, error) {
	m.s.Start(abi.ExportGenesis, abi.PhaseHook, st, st, nil)
	m.s.StateSet([]byte("genesis"), document[:2])
	return m.s.Finish(0, ""), nil
}

func (m *scriptMachine) BeginBlock(st stf.State, ctx abi.Context, oracle []byte) (stf.Outcome, error) {
	m.calls, m.end = 0, ""
	m.s.Start(abi.ExportBeginBlock, abi.PhaseHook, st, st, nil)
	m.s.StateSet([]byte("block"), fmt.Appendf(nil, "%d@%d %x", ctx.Height, ctx.Time, sha256.Sum256(oracle)))
	m.s.Emit([]byte{1, 5, 0, 0, 0, 'b', 'l', 'o', 'c', 'k'})
	return m.s.Finish(0, ""), nil
}

func (m *scriptMachine) EndBlock(st stf.State, _ abi.Context) (stf.Outcome, error) {
	m.s.Start(abi.ExportEndBlock, abi.PhaseHook, st, st, nil)
	switch m.end {
	case "":
	case "trap":
		return m.s.Finish(abi.CodeTrap, "asked to"), nil
	default:
		m.s.StateSet([]byte("end"), []byte(m.end))
	}
	return m.s.Finish(0, ""), nil
}

func (m *scriptMachine) Admit(view stf.View, _ abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	id := sha256.Sum256(tx.Raw)
	if _, seen := view.Get(id[:]); seen {
		return stf.Outcome{Code: 2, Detail: "seen before"}, nil
	}
	if string(tx.Raw) == "refuse" {
		return stf.Outcome{Code: 2, Detail: "asked to"}, nil
	}
	return stf.Outcome{}, nil
}

func (m *scriptMachine) Execute(st stf.State, _ abi.Context, tx *stf.Tx) (stf.Outcome, error) {
	m.calls++
	word := strings.Fields(string(tx.Raw))
	arg := func(i int) []byte {
		if i < len(word) {
			return []byte(word[i])
		}
		return []byte("-")
	}
	id := sha256.Sum256(tx.Raw)
	m.s.Start(abi.ExportExecute, abi.PhaseExecute, st, st, tx)
	if word[0] == "late" || word[0] == "refuse" || word[0] == "bad" {
		return m.s.Finish(2, ""), nil
	}
	if word[0] == "keep" {
		m.s.StateSet(arg(1), []byte("kept"))
	}
	m.s.StateSet(id[:], []byte{1})
	m.s.Accept(&id)
	switch word[0] {
	case "set":
		m.s.StateSet(arg(1), arg(2))
		m.s.Emit(append(append([]byte{1}, abi.AppendU32(nil, uint32(len(arg(1))))...), arg(1)...))
	case "count":
		m.s.StateSet(arg(1), fmt.Append(nil, m.calls))
	case "emit":
		m.emit(arg(1), arg(2))
	case "end":
		m.end = string(arg(1))
	case "fail", "keep":
		m.s.StateSet(arg(1), []byte("lost"))
		m.s.Output([]byte("asked to"))
		return m.s.Finish(1, ""), nil
	case "trap":
		m.calls = 0
		return m.s.Finish(abi.CodeTrap, ""), nil
	}
	return m.s.Finish(0, ""), nil
}

func (m *scriptMachine) emit(n, size []byte) {
	count, _ := strconv.Atoi(string(n))
	length, _ := strconv.Atoi(string(size))
	for range count {
		m.s.Emit(make([]byte, length))
	}
}
