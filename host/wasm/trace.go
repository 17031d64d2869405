package wasm

import (
	"context"
	"slices"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// HostCall is what a guest asked of its host, and the answer. The slices are
// copies.
type HostCall struct {
	Name string // as the guest imports it: state_get, keccak256, wasi fd_write
	// Input is the key of a state call; digest and signature, 97 bytes, of
	// recover; domain, words and signature of signer712; otherwise the bytes that
	// were given. What was not within the guest's memory is left out.
	Input []byte
	// Value is what state_get found, state_set wrote, or the hash, or the address
	// that was recovered, after the digest if it was signer712.
	Value   []byte
	Found   bool   // state_get: there is such a key; recover, signer712: it is a signature
	Refused string // why the host stopped the guest instead of answering
}

// A Tracer is told what a guest does when machines execute hooks and transactions:
// every host call in order, those of a batch one by one, once it is answered, and the
// engine's own words about a trap, with the guest's stack. It is for people; nothing
// that it is told may reach a result. Machines call it from the goroutine that calls them.
type Tracer interface {
	Called(*HostCall)
	Trapped(words error)
}

// tracedCall is a host call of a program that has a tracer.
type tracedCall struct {
	name string
	call hostCall
}

// Call implements api.GoFunction.
func (c tracedCall) Call(ctx context.Context, s []uint64) {
	in := ctx.(*callContext).in
	if in.tracer == nil {
		c.call.Call(ctx, s)
		return
	}
	in.hosting = true
	in.traced(c.name, c.call, s)
	in.hosting = false
}

// traced makes a host call and tells the tracer.
func (in *instance) traced(name string, call hostCall, s []uint64) {
	record := HostCall{Name: name, Input: in.inputOf(name, s)}
	args := [abi.RequestParams]uint64{}
	copy(args[:], s)
	answered := false
	// Deferred, since a refusal is a panic, which goes on.
	defer func() {
		if answered {
			in.answerOf(&record, &args, s)
		} else if in.trap != nil {
			record.Refused = in.trap.Reason
		}
		in.tracer.Called(&record)
	}()
	call(in, s)
	answered = true
}

// inputOf copies what a host call is given.
func (in *instance) inputOf(name string, s []uint64) []byte {
	switch name {
	case abi.ImportStateGet, abi.ImportStateSet, abi.ImportStateDelete, abi.ImportKeccak256, abi.ImportSHA256, abi.ImportEmit, abi.ImportOutput, abi.ImportLog:
		return in.peek(s[0], s[1])
	case abi.ImportRecover:
		return append(in.peek(s[0], 32), in.peek(s[1], 65)...)
	case abi.ImportSigner712:
		return slices.Concat(in.peek(s[0], 32), in.peek(s[1], s[2]), in.peek(s[3], 65))
	case abi.ImportAccept:
		return in.peek(s[0], 32)
	}
	return nil // a WASI call: it answers everybody the same
}

// answerOf copies what a host call answered.
func (in *instance) answerOf(c *HostCall, args *[abi.RequestParams]uint64, s []uint64) {
	switch c.Name {
	case abi.ImportStateGet:
		if c.Found = s[0] != absent; c.Found {
			v, _, _ := in.session.StateGet(c.Input) // the guest may have given less room than it takes
			c.Value = append([]byte{}, v...)
		}
	case abi.ImportStateSet:
		c.Value = in.peek(args[2], args[3])
	case abi.ImportKeccak256, abi.ImportSHA256:
		c.Value = in.peek(args[2], 32)
	case abi.ImportRecover:
		if c.Found = s[0] == 1; c.Found {
			c.Value = in.peek(args[2], 20)
		}
	case abi.ImportSigner712:
		size := uint64(32)
		if c.Found = s[0] == 1; c.Found {
			size += 20
		}
		c.Value = in.peek(args[4], size)
	}
}

// peek copies a range of guest memory, nil if it is not within.
func (in *instance) peek(ptr, n uint64) []byte {
	ptr, n = uint64(uint32(ptr)), uint64(uint32(n))
	if mem := in.memory(); ptr+n <= uint64(len(mem)) {
		return append([]byte{}, mem[ptr:ptr+n]...)
	}
	return nil
}
