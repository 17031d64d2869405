package wasm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// errStopped is what a host call panics with to stop the guest; wazero recovers
// it on both engines and returns an error. The reason is in the instance.
var errStopped = errors.New("guest stopped by a host call")

// stop ends the guest's call.
func (in *instance) stop(t *stf.Trap) {
	in.trap = t
	panic(errStopped)
}

// view is a range of guest memory; one that is not within it stops the guest. It
// is valid until the guest runs on.
func (in *instance) view(ptr, n uint64) []byte {
	ptr, n = uint64(uint32(ptr)), uint64(uint32(n))
	mem := *in.live
	if ptr+n > uint64(len(mem)) {
		in.outside(ptr, n)
	}
	return mem[ptr : ptr+n : ptr+n]
}

// outside stops the guest for what view is there for; apart from it, so that the
// compiler puts the rest into host calls.
func (in *instance) outside(ptr, n uint64) {
	in.stop(&stf.Trap{Reason: fmt.Sprintf("%d bytes at %d are outside memory", n, ptr)})
}

// hostCall is the body of an imported function: parameters in s, result in s[0].
type hostCall func(in *instance, s []uint64)

// Call implements api.GoFunction. A panic leaves hosting set, which is how
// [instance.stopped] tells a failing host from a failing guest.
func (f hostCall) Call(ctx context.Context, s []uint64) {
	in := ctx.(*callContext).in
	in.hosting = true
	f(in, s)
	in.hosting = false
}

var hostCalls = map[string]map[string]hostCall{
	abi.ImportModule: ofContract(),
	moduleWASI: {
		"args_get":          wasiNothing,
		"args_sizes_get":    wasiSizes,
		"environ_get":       wasiNothing,
		"environ_sizes_get": wasiSizes,
		"clock_time_get":    wasiClock,
		"random_get":        wasiRandom,
		"fd_write":          wasiWrite,
		"poll_oneoff":       wasiPoll,
		"sched_yield":       wasiYield,
		"proc_exit":         wasiExit,
	},
}

// ofContract is the contract's own calls: what a batch can ask for, and a batch.
func ofContract() map[string]hostCall {
	calls := map[string]hostCall{abi.ImportBatch: batch}
	for _, q := range requests[1:] {
		calls[q.name] = q.call
	}
	return calls
}

// provide instantiates the host's two modules in r, with a place for a tracer if
// there is one.
func provide(ctx context.Context, r wazero.Runtime, traced bool) error {
	for module, calls := range hostCalls {
		b := r.NewHostModuleBuilder(module)
		for name, call := range calls {
			t := capabilities[module][name].typ
			f := api.GoFunction(call)
			if traced && name != abi.ImportBatch { // whose requests are traced
				f = tracedCall{name, call}
			}
			b.NewFunctionBuilder().WithGoFunction(f, apiTypes(t.params), apiTypes(t.results)).Export(name)
		}
		if _, err := b.Instantiate(ctx); err != nil {
			return fmt.Errorf("host module %s: %w", module, err)
		}
	}
	return nil
}

func apiTypes(ts []valType) []api.ValueType {
	out := make([]api.ValueType, len(ts))
	for i, t := range ts {
		out[i] = api.ValueType(t)
	}
	return out
}

// check stops the guest if a session refused the call.
func (in *instance) check(t *stf.Trap) {
	if t != nil {
		in.stop(t)
	}
}

// absent is what state_get returns for a key that is not there: -1.
const absent = uint64(^uint32(0))

func stateGet(in *instance, s []uint64) {
	dst := in.view(s[2], s[3])
	v, ok, t := in.session.StateGet(in.view(s[0], s[1]))
	in.check(t)
	if !ok {
		s[0] = absent
		return
	}
	if len(v) <= len(dst) {
		copy(dst, v)
	}
	s[0] = uint64(len(v))
}

func stateSet(in *instance, s []uint64) {
	in.check(in.session.StateSet(in.view(s[0], s[1]), in.view(s[2], s[3])))
}

func stateDelete(in *instance, s []uint64) {
	in.check(in.session.StateDelete(in.view(s[0], s[1])))
}

func hashKeccak256(in *instance, s []uint64) {
	dst := in.view(s[2], 32)
	sum := in.session.Keccak256(in.view(s[0], s[1]))
	copy(dst, sum[:])
}

func hashSHA256(in *instance, s []uint64) {
	dst := in.view(s[2], 32)
	sum := in.session.SHA256(in.view(s[0], s[1]))
	copy(dst, sum[:])
}

func recoverSigner(in *instance, s []uint64) {
	dst := in.view(s[2], 20)
	addr, ok, t := in.session.Recover((*[32]byte)(in.view(s[0], 32)), (*[65]byte)(in.view(s[1], 65)))
	in.check(t)
	if !ok {
		s[0] = 0
		return
	}
	copy(dst, addr[:])
	s[0] = 1
}

func signer712(in *instance, s []uint64) {
	dst := in.view(s[4], 32+20)
	v, t := in.session.Signer712((*[32]byte)(in.view(s[0], 32)), in.view(s[1], s[2]), (*[65]byte)(in.view(s[3], 65)))
	in.check(t)
	*(*chain.Hash)(dst) = v.Digest
	if !v.OK {
		s[0] = 0
		return
	}
	*(*chain.Address)(dst[32:]) = v.Signer
	s[0] = 1
}

func accept(in *instance, s []uint64) {
	in.check(in.session.Accept((*[32]byte)(in.view(s[0], 32))))
}

func emit(in *instance, s []uint64)    { in.check(in.session.Emit(in.view(s[0], s[1]))) }
func output(in *instance, s []uint64)  { in.check(in.session.Output(in.view(s[0], s[1]))) }
func logLine(in *instance, s []uint64) { in.check(in.session.LogLine(in.view(s[0], s[1]))) }
