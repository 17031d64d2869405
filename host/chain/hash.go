package chain

import "crypto/sha256"

// Every hash starts with a tag, so that no two kinds of bytes can ever share
// one. The tree over transactions and receipts is RFC 6962's: 0x00 before a
// leaf, 0x01 before a pair of children.
const (
	tagHeader  = "kaizen/header/1\n"
	tagOracle  = "kaizen/oracle/1\n"
	tagGenesis = "kaizen/genesis/1\n"
)

func sum(tag string, b []byte) Hash {
	h := sha256.New()
	h.Write([]byte(tag))
	h.Write(b)
	return Hash(h.Sum(nil))
}

// EmptyRoot is the Merkle root of no leaves: SHA-256 of nothing (RFC 6962).
func EmptyRoot() Hash { return sha256.Sum256(nil) }

// LeafHash is the hash of one leaf of the transactions or receipts tree.
func LeafHash(b []byte) Hash {
	var buf [512]byte
	if len(b) < len(buf) {
		return sha256.Sum256(append(append(buf[:0], 0), b...))
	}
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(b)
	return Hash(h.Sum(nil))
}

func nodeHash(l, r *Hash) Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// MerkleRoot is the RFC 6962 root over leaf hashes, which it overwrites.
//
// Pairing level by level and carrying an odd last node up unchanged gives
// exactly the recursion of the RFC: the left subtree of n leaves has the largest
// power of two below n.
func MerkleRoot(leaves []Hash) Hash {
	if len(leaves) == 0 {
		return EmptyRoot()
	}
	for n := len(leaves); n > 1; {
		half := n / 2
		for i := range half {
			leaves[i] = nodeHash(&leaves[2*i], &leaves[2*i+1])
		}
		if n%2 == 1 {
			leaves[half] = leaves[n-1]
			half++
		}
		n = half
	}
	return leaves[0]
}

// TxsRoot is what a header's TxsRoot holds.
func TxsRoot(txs [][]byte) Hash {
	leaves := make([]Hash, len(txs))
	for i, tx := range txs {
		leaves[i] = LeafHash(tx)
	}
	return MerkleRoot(leaves)
}
