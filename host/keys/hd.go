package keys

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/kaizenchain/kaizen/host/secp"
)

// DevMnemonic is the phrase that every development chain knows. Its keys are
// public: whoever sends value to them on a real chain loses it.
const DevMnemonic = "test test test test test test test test test test test junk"

// DevAccounts is how many accounts of [DevMnemonic] a development chain funds.
const DevAccounts = 10

// DevKey is the i-th account of [DevMnemonic] at m/44'/60'/0'/0/i, i below
// [DevAccounts].
func DevKey(i int) (*secp.Key, error) {
	if i < 0 || i >= DevAccounts {
		return nil, fmt.Errorf("development account %d: want 0 to %d", i, DevAccounts-1)
	}
	seed, err := Seed(DevMnemonic, "")
	if err != nil {
		return nil, err
	}
	return Derive(seed, hardened+44, hardened+60, hardened, 0, uint32(i))
}

// seedRounds and seedBytes are BIP-39's.
const seedRounds, seedBytes = 2048, 64

// Seed stretches a mnemonic and its passphrase as BIP-39 says. The phrase must
// already be normalised (NFKD); ASCII is.
func Seed(mnemonic, passphrase string) ([]byte, error) {
	seed, err := pbkdf2.Key(sha512.New, mnemonic, []byte("mnemonic"+passphrase), seedRounds, seedBytes)
	if err != nil {
		return nil, fmt.Errorf("stretch mnemonic: %w", err)
	}
	return seed, nil
}

// hardened marks an index whose child needs the private parent (BIP-32).
const hardened = uint32(1) << 31

// curveOrder is n of secp256k1 (SEC 2, section 2.4.1).
var curveOrder, _ = new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)

// Derive walks path down from the master key of seed (BIP-32, private parent to
// private child).
func Derive(seed []byte, path ...uint32) (*secp.Key, error) {
	key, chainCode, err := split(hmac512([]byte("Bitcoin seed"), seed), new(big.Int))
	for i := 0; i < len(path) && err == nil; i++ {
		key, chainCode, err = child(key, chainCode, path[i])
	}
	return key, err
}

func child(parent *secp.Key, chainCode []byte, index uint32) (*secp.Key, []byte, error) {
	data := parent.CompressedPublic()
	if index >= hardened {
		data = append([]byte{0}, parent.Bytes()...)
	}
	data = binary.BigEndian.AppendUint32(data, index)
	return split(hmac512(chainCode, data), new(big.Int).SetBytes(parent.Bytes()))
}

// split turns 64 bytes of HMAC into a key, parent added, and a chain code. One
// index in 2^127 has no key; BIP-32 says to take the next one, we say so instead.
func split(sum []byte, parent *big.Int) (*secp.Key, []byte, error) {
	scalar := new(big.Int).SetBytes(sum[:32])
	if scalar.Cmp(curveOrder) >= 0 {
		return nil, nil, fmt.Errorf("derive: index has no key: %w", secp.ErrKey)
	}
	scalar.Add(scalar, parent).Mod(scalar, curveOrder)
	key, err := secp.NewKey(scalar.FillBytes(make([]byte, 32)))
	return key, sum[32:], err
}

func hmac512(key, data []byte) []byte {
	h := hmac.New(sha512.New, key)
	h.Write(data)
	return h.Sum(nil)
}
