// Package witness makes and checks witnesses: one file with everything that it
// takes to execute one block again, by anybody, without the chain and without the
// state: the block, its parent's header, and a proof of exactly the keys that the
// block reads or writes. FORMAT.md beside this file shows every byte and what a
// witness can be trusted for.
//
// It imports host/chain, host/stf, host/state and its proofs; it must not import an
// adapter, a clock or anything that can block. The block is executed by host/stf, as
// everywhere.
//
//	Build(program, Source{…, Tree: state after the parent}) ─▶ Witness ─▶ Append ─▶ file
//	file ─▶ Decode ─▶ Witness ─▶ Verify(program): executed on the proof alone, the
//	                                new root computed from it, compared with the header
//
// A Witness does not change once it is made: any number of goroutines may verify it,
// each with a machine of its own, which Verify sees to.
package witness

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/state/proof"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// FormatVersion is the version of the encoding; FORMAT.md lists them.
const FormatVersion uint16 = 1

// fileMagic begins every witness.
const fileMagic = "KZWITNES"

// checksumTag begins what the checksum at the end is of.
const checksumTag = "kaizen/witness/1\n"

// MaxBytes bounds a witness, bytes: everything in it has a limit of its own.
const MaxBytes = headBytes + chain.MaxBlockBytes + proof.MaxMultiBytes + sha256.Size

// headBytes are those of all fields of fixed size before the checksum.
const headBytes = len(fileMagic) + 2 + 32 + 4 + chain.HeaderBytes + 4 + 4

// What can be wrong with the bytes of a witness; the last three are ErrMalformed.
var (
	ErrMalformed = errors.New("not a witness")
	ErrVersion   = fmt.Errorf("%w that this program reads: version", ErrMalformed)
	ErrTooLarge  = fmt.Errorf("%w: larger than one can be", ErrMalformed)
	ErrChecksum  = fmt.Errorf("%w any more: checksum differs", ErrMalformed)
)

// Witness is one block and what its execution needs.
type Witness struct {
	Genesis chain.Hash // of the genesis document: which chain this claims to be of
	MaxTxs  uint32     // `max_txs_per_block` of that document
	Parent  chain.Header
	Block   *chain.Block
	State   *proof.Multi // of the state after the parent, for the keys of the block

	state []byte // State, encoded
}

// Append appends the encoding of w.
func (w *Witness) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, fileMagic...)
	dst = abi.AppendU16(dst, FormatVersion)
	dst = append(dst, w.Genesis[:]...)
	dst = abi.AppendU32(dst, w.MaxTxs)
	dst = w.Parent.Append(dst)
	dst = abi.AppendBytes(dst, w.Block.Append(nil))
	dst = abi.AppendBytes(dst, w.state)
	sum := checksum(dst[start:])
	return append(dst, sum[:]...)
}

// Size is the length of the encoding, bytes.
func (w *Witness) Size() int { return headBytes + w.Block.Size() + len(w.state) + sha256.Size }

func checksum(b []byte) chain.Hash {
	h := sha256.New()
	h.Write([]byte(checksumTag))
	h.Write(b)
	return chain.Hash(h.Sum(nil))
}

// Decode reads exactly one witness and checks its form. It is a view into b.
func Decode(b []byte) (*Witness, error) {
	body, err := open(b)
	if err != nil {
		return nil, err
	}
	r := abi.NewReader(body)
	w := &Witness{Genesis: r.Bytes32(), MaxTxs: r.U32()}
	parent := r.Take(chain.HeaderBytes)
	block := r.Bytes(chain.MaxBlockBytes)
	w.state = r.Bytes(proof.MaxMultiBytes)
	if !r.Done() {
		return nil, fmt.Errorf("%w: a field is over its limit, or fields and length do not agree", ErrMalformed)
	}
	if w.Parent, err = chain.DecodeHeader(parent); err != nil {
		return nil, fmt.Errorf("%w: parent: %w", ErrMalformed, err)
	}
	if w.Block, err = chain.DecodeBlock(block); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if w.State, err = proof.DecodeMulti(w.state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return w, nil
}

// open takes off what says that these bytes are a whole witness of a version that
// is known here.
func open(b []byte) ([]byte, error) {
	const before = len(fileMagic) + 2
	switch {
	case len(b) > MaxBytes:
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(b), MaxBytes)
	case len(b) < before+sha256.Size || string(b[:len(fileMagic)]) != fileMagic:
		return nil, fmt.Errorf("%w: it does not begin like one", ErrMalformed)
	}
	r := abi.NewReader(b[len(fileMagic):before])
	if v := r.U16(); v != FormatVersion {
		return nil, fmt.Errorf("%w is %d, want %d", ErrVersion, v, FormatVersion)
	}
	end := len(b) - sha256.Size
	if got, want := checksum(b[:end]), chain.Hash(b[end:]); got != want {
		return nil, fmt.Errorf("%w: %s computed, %s at the end", ErrChecksum, got, want)
	}
	return b[before:end], nil
}
