package wasm

import (
	"encoding/binary"
	"fmt"

	"github.com/kaizenchain/kaizen/host/stf"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// A batch is host calls that a guest makes by one: leaving its code and coming back
// costs more than what most calls do. They are made in order, and each is paid for,
// checked and traced as if it had been made alone.

// request is an import that a batch can call.
type request struct {
	name string
	cost hostFunc
	call hostCall
}

// requests are the contract's calls, all but the batch itself, by [abi.Requests].
var requests = requestsOf([...]hostCall{
	abi.RequestStateGet:    stateGet,
	abi.RequestStateSet:    stateSet,
	abi.RequestStateDelete: stateDelete,
	abi.RequestKeccak256:   hashKeccak256,
	abi.RequestSHA256:      hashSHA256,
	abi.RequestRecover:     recoverSigner,
	abi.RequestSigner712:   signer712,
	abi.RequestAccept:      accept,
	abi.RequestEmit:        emit,
	abi.RequestOutput:      output,
	abi.RequestLog:         logLine,
})

func requestsOf(calls [len(abi.Requests)]hostCall) (all [len(abi.Requests)]request) {
	for number, name := range abi.Requests {
		all[number] = request{name, capabilities[abi.ImportModule][name], calls[number]}
	}
	return all
}

func batch(in *instance, s []uint64) {
	n := uint64(uint32(s[1]))
	if n > abi.MaxBatch {
		in.stop(&stf.Trap{Reason: fmt.Sprintf("batch of %d requests, limit %d", n, abi.MaxBatch)})
	}
	list := in.view(s[0], n*abi.RequestBytes)
	left := int64(in.meter.Get())
	for ; len(list) > 0; list = list[abi.RequestBytes:] {
		left = in.request((*[abi.RequestBytes]byte)(list), left)
	}
	in.meter.Set(uint64(left))
}

// request makes the call that r asks for, and returns what it leaves of the meter.
func (in *instance) request(r *[abi.RequestBytes]byte, left int64) int64 {
	number := binary.LittleEndian.Uint64(r[:])
	if number == 0 || number >= uint64(len(requests)) {
		in.stop(&stf.Trap{Reason: fmt.Sprintf("batch asks for function %d, want 1 to %d", number, len(requests)-1)})
	}
	q, s := &requests[number], &in.params
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(r[8+8*i:])
	}
	if left -= q.cost.before(s); left < 0 {
		in.exhaust(left)
	}
	if in.tracer == nil {
		q.call(in, s[:])
	} else {
		in.traced(q.name, q.call, s[:])
	}
	if len(q.cost.typ.results) > 0 {
		binary.LittleEndian.PutUint64(r[abi.RequestBytes-8:], s[0])
	}
	return left - q.cost.after(s[0])
}

// before is what the wrapper of an import takes off the meter before a call, and after
// what it takes afterwards (see [instrumenter.wrapper]).
func (f *hostFunc) before(s *[abi.RequestParams]uint64) int64 {
	units := int64(f.base)
	if f.bytes >= 0 {
		units += int64(uint32(s[f.bytes])) * int64(f.per8) >> 3
	}
	return units << callBits
}

func (f *hostFunc) after(result uint64) int64 {
	if f.bytes != resultBytes || int32(result) <= 0 {
		return 0
	}
	return int64(result) * int64(f.per8) >> 3 << callBits
}

// exhaust ends the guest's call as its own code does when the budget has run out.
func (in *instance) exhaust(left int64) {
	in.meter.Set(uint64(left))
	in.hosting = false
	panic(errStopped)
}
