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
// It says nothing about what was signed. Who trusts it takes it that execute asks for
// signatures in the order in which inspect names them (stf-modules/ABI.md, rule 7), and
// inspects nothing. Wherever that is not so, the block comes out with other roots than
// its header has, and is executed again without.
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

// Trust makes transactions of which this node has noted who signed them, so that they can
// be executed without being inspected; false if signers is not what a [Closed] has of as
// many. It allocates for all of them at once.
func Trust(raws [][]byte, signers []byte) ([]Tx, bool) {
	room := make([]Signer, 0, len(signers)/signerBytes)
	txs := make([]Tx, len(raws))
	for i := range txs {
		one, rest, ok := CutSigners(signers)
		if !ok {
			return nil, false
		}
		first := len(room)
		for one = one[1:]; len(one) > 0; one = one[signerBytes:] {
			if one[0] > 1 {
				return nil, false
			}
			room = append(room, Signer{OK: one[0] == 1, Address: chain.Address(one[1:signerBytes]), Noted: true})
		}
		txs[i], signers = Tx{Raw: raws[i], Signers: room[first:len(room):len(room)]}, rest
	}
	if len(signers) > 0 {
		return nil, false
	}
	return txs, true
}
