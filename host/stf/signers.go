package stf

import (
	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// What a node keeps of who signed a block's transactions, so that it need not find
// out again when it executes the block again. For each transaction:
//
//	1    n, signatures that inspect named, at most abi.MaxSignatures
//	n ×  1    1 if the signature is valid, else 0
//	    20    whose it is, zero if it is not valid
//
// It says nothing about what was signed: inspect is asked for that anyway, and what is
// known counts only if it is of as many signatures.
const signerBytes = 1 + len(chain.Address{})

// MaxTxSignersBytes is the most that is noted of one transaction's signers, bytes.
const MaxTxSignersBytes = 1 + abi.MaxSignatures*signerBytes

// appendSigners appends what is known of one transaction's signers.
func appendSigners(dst []byte, tx *Tx) []byte {
	dst = append(dst, byte(len(tx.Signers)))
	for i := range tx.Signers {
		s := &tx.Signers[i]
		valid := byte(0)
		if s.OK {
			valid = 1
		}
		dst = append(append(dst, valid), s.Address[:]...)
	}
	return dst
}

// CutSigners cuts what is known of the next transaction's signers off the Signers of a
// [Closed]; false if there is nothing more, or not all of it.
func CutSigners(b []byte) (one, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	n := 1 + int(b[0])*signerBytes
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// believe sets the signers to what is known of them, if that is well-formed and of as
// many as there are.
func (tx *Tx) believe() bool {
	b := tx.Known
	if len(b) != 1+len(tx.Signers)*signerBytes || int(b[0]) != len(tx.Signers) {
		return false
	}
	b = b[1:]
	for i := range tx.Signers {
		one := b[i*signerBytes:]
		if one[0] > 1 {
			return false
		}
		s := &tx.Signers[i]
		s.OK, s.Address = one[0] == 1, chain.Address(one[1:signerBytes])
	}
	return true
}
