package rfq

import "github.com/kaizenchain/kaizen/stf-modules/rfq/tx"

// First bytes of the state keys; package ring has h, o, q and r, and 't' to 'v'
// are left to theses. Numbers in keys are big-endian, so that keys sort as they
// do.
const (
	keyAccount    = 'a' // ‖ address
	keyDeposit    = 'd' // ‖ external transaction hash
	keyMarket     = 'm' // ‖ base ‖ quote
	keyMarketAt   = 'i' // ‖ index u16: base ‖ quote
	keyMarketName = 'n' // ‖ name: base ‖ quote
	keyParams     = 'p'
	keySystem     = 's'
	keyTotals     = 'b'
	keyWallet     = 'w' // ‖ account ‖ wallet
	keyWithdrawal = 'x' // ‖ id u64
)

// AccountKey is the state key of an account.
func AccountKey(a tx.Address) []byte { return append([]byte{keyAccount}, a[:]...) }

// accountKey has a buffer of its own: it is needed three times in a transfer.
func (m *Module) accountKey(a *tx.Address) []byte {
	m.accountAt[0] = keyAccount
	*(*tx.Address)(m.accountAt[1:]) = *a
	return m.accountAt[:]
}

func (m *Module) walletKey(account, wallet *tx.Address) []byte {
	return append(append(append(m.key[:0], keyWallet), account[:]...), wallet[:]...)
}

func (m *Module) depositKey(h *tx.Hash) []byte {
	return append(append(m.key[:0], keyDeposit), h[:]...)
}

func (m *Module) marketKey(base, quote *tx.Address) []byte {
	return append(append(append(m.key[:0], keyMarket), base[:]...), quote[:]...)
}

func (m *Module) marketAtKey(index uint16) []byte {
	return append(m.key[:0], keyMarketAt, byte(index>>8), byte(index))
}

func (m *Module) marketNameKey(name string) []byte {
	return append(append(m.key[:0], keyMarketName), name...)
}

func (m *Module) withdrawalKey(id uint64) []byte {
	k := append(m.key[:0], keyWithdrawal)
	for shift := 56; shift >= 0; shift -= 8 {
		k = append(k, byte(id>>shift))
	}
	return k
}

func (m *Module) plainKey(prefix byte) []byte { return append(m.key[:0], prefix) }

// getU64 and its like read and write one field of a record in place.
func getU64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func getU32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

func putU64(b []byte, v uint64) {
	_ = b[7]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
	b[4], b[5], b[6], b[7] = byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
}

func putU32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}
