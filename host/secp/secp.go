// Package secp is the arithmetic of Ethereum signatures: Keccak-256, recovery of
// signers, signing. It implements [stf.Crypto] and is the only importer of
// go-ethereum's crypto package, which is libsecp256k1 where a C compiler was at
// hand and decred's pure Go implementation elsewhere; both give the same bytes.
//
//	signer, ok := secp.Recover(&digest, &sig)
//	secp.RecoverAll(signers)                   the same, of many
//
// Many signatures at once are recovered side by side (host/secp/internal/lanes) on
// processors that can. RECOVERY.md there says why the results are the same.
//
// All functions are pure and may be called from any goroutine.
package secp

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Crypto implements stf.Crypto.
type Crypto struct{}

// Keccak256 implements stf.Crypto.
func (Crypto) Keccak256(b []byte) chain.Hash { return Keccak256(b) }

// Recover implements stf.Crypto.
func (Crypto) Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool) {
	return Recover(digest, sig)
}

// scratch is what one hash or recovery needs on the heap: its arguments go
// through an interface or to C, so that none can be on the stack.
type scratch struct {
	keccak crypto.KeccakState
	sum    chain.Hash
	sig    [65]byte
}

var scratches = sync.Pool{New: func() any { return &scratch{keccak: crypto.NewKeccakState()} }}

// Keccak256 is Ethereum's hash: the original Keccak padding, not SHA-3's.
func Keccak256(b []byte) chain.Hash {
	s := scratches.Get().(*scratch)
	sum := s.hash(b)
	scratches.Put(s)
	return sum
}

func (s *scratch) hash(b []byte) chain.Hash {
	s.keccak.Reset()
	s.keccak.Write(b)
	s.keccak.Read(s.sum[:]) // neither ever fails
	return s.sum
}

// Keccak lends the hash to the market's types, which know no library.
type Keccak struct{}

// Keccak256 puts the hash of b into out.
func (Keccak) Keccak256(b []byte, out *[32]byte) { *out = Keccak256(b) }

// halfOrder is half the order of secp256k1, rounded down: the largest s of a
// signature that is not malleable (EIP-2).
var halfOrder = [32]byte{
	0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
}

// parity is whether v says that the point whose abscissa is r has an odd ordinate;
// false if v is not in {0, 1, 27, 28} or s is high.
func parity(sig *[65]byte) (v byte, ok bool) {
	v = sig[64]
	if v >= 27 {
		v -= 27
	}
	return v, v <= 1 && string(sig[32:64]) <= string(halfOrder[:])
}

// Recover returns the address whose key signed digest; false if sig is not
// r ‖ s ‖ v with v in {0, 1, 27, 28}, low s, and a point on the curve. For many
// signatures use [RecoverAll].
func Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool) {
	return RecoverReference(digest, sig)
}

// RecoverReference is Recover by go-ethereum's crypto package alone: what every
// other way to recover is compared with, and what the benchmark takes for the limit.
func RecoverReference(digest *[32]byte, sig *[65]byte) (chain.Address, bool) {
	v, ok := parity(sig)
	if !ok {
		return chain.Address{}, false
	}
	s := scratches.Get().(*scratch)
	s.sig = *sig
	s.sig[64] = v
	var who chain.Address
	public, err := crypto.Ecrecover(digest[:], s.sig[:])
	if err == nil {
		sum := s.hash(public[1:]) // without the tag of an uncompressed point
		copy(who[:], sum[12:])
	}
	scratches.Put(s)
	return who, err == nil
}

// Key is a private key.
type Key struct{ key *ecdsa.PrivateKey }

// ErrKey is wrapped when bytes are not a private key; the bytes are never part
// of the message.
var ErrKey = errors.New("not a secp256k1 private key")

// NewKey reads a 32-byte scalar.
func NewKey(b []byte) (*Key, error) {
	k, err := crypto.ToECDSA(b)
	if err != nil {
		return nil, fmt.Errorf("%w: want 32 bytes, not zero and below the group order", ErrKey)
	}
	return &Key{k}, nil
}

// ParseKey reads 64 hex digits with or without 0x.
func ParseKey(s string) (*Key, error) {
	b, err := hex.DecodeString(strings.TrimPrefix(strings.TrimSpace(s), "0x"))
	if err != nil {
		return nil, fmt.Errorf("%w: want 64 hex digits", ErrKey)
	}
	return NewKey(b)
}

// GenerateKey makes a key from the system's randomness.
func GenerateKey() (*Key, error) {
	k, err := crypto.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return &Key{k}, nil
}

// Address is the account of the key.
func (k *Key) Address() chain.Address { return chain.Address(crypto.PubkeyToAddress(k.key.PublicKey)) }

// Bytes is the scalar, 32 bytes; whoever asks for it keeps it secret.
func (k *Key) Bytes() []byte { return crypto.FromECDSA(k.key) }

// Sign signs digest: r ‖ s ‖ v with low s and v in {27, 28}, as wallets do.
// Nonces are RFC 6979, so the same digest always gets the same signature.
func (k *Key) Sign(digest *[32]byte) (sig [65]byte, err error) {
	b, err := crypto.Sign(digest[:], k.key)
	if err != nil {
		return sig, fmt.Errorf("sign: %w", err)
	}
	copy(sig[:], b)
	sig[64] += 27
	return sig, nil
}

// CompressedPublic is the public key as 33 bytes: parity, then x (SEC 1).
func (k *Key) CompressedPublic() []byte { return crypto.CompressPubkey(&k.key.PublicKey) }
