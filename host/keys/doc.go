// Package keys is how private keys are kept: in web3 secret storage files
// (version 3, as geth and every wallet write them), in plain hex files that only
// their owner may read, and, for development, derived from the well-known
// mnemonic (BIP-39, BIP-32).
//
// It may import host/secp and host/chain; no other package of the project and no
// library beyond x/crypto's scrypt. It never logs, and no error of its own
// contains a key, a password or a mnemonic.
//
//	dir := keys.Dir(path)
//	entry, err := dir.Store(key, password, keys.Strong)
//	key, err   := keys.Load(entry.Path, password)
//
// Functions may be called from any goroutine. Two processes may store into one
// directory: file names carry a random id.
package keys
