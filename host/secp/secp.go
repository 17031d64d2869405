// Package secp is the arithmetic of Ethereum signatures: Keccak-256, recovery of
// a signer, signing. It implements [stf.Crypto] and is the only importer of
// go-ethereum's crypto package, which is libsecp256k1 where a C compiler was at
// hand and decred's pure Go implementation elsewhere; both give the same bytes.
//
//	signer, ok := secp.Recover(&digest, &sig)
//
// All functions are pure and may be called from any goroutine.
package secp

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

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

// Keccak256 is Ethereum's hash: the original Keccak padding, not SHA-3's.
func Keccak256(b []byte) chain.Hash { return chain.Hash(crypto.Keccak256Hash(b)) }

// halfOrder is half the order of secp256k1, rounded down: the largest s of a
// signature that is not malleable (EIP-2).
var halfOrder = [32]byte{
	0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
}

// Recover returns the address whose key signed digest; false if sig is not
// r ‖ s ‖ v with v in {0, 1, 27, 28}, low s, and a point on the curve.
func Recover(digest *[32]byte, sig *[65]byte) (chain.Address, bool) {
	v := sig[64]
	if v >= 27 {
		v -= 27
	}
	if v > 1 || string(sig[32:64]) > string(halfOrder[:]) {
		return chain.Address{}, false
	}
	plain := *sig
	plain[64] = v
	pub, err := crypto.Ecrecover(digest[:], plain[:])
	if err != nil {
		return chain.Address{}, false
	}
	return addressOf(pub), true
}

func addressOf(uncompressed []byte) (a chain.Address) {
	sum := Keccak256(uncompressed[1:])
	copy(a[:], sum[12:])
	return a
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
