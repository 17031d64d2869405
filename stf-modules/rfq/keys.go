package rfq

import "github.com/kaizenchain/kaizen/stf-modules/rfq/tx"

// First bytes of the state keys; package ring has h, o, q and r, package schedule
// has v. Numbers in keys are big-endian, so that keys sort as they
// do.
const (
	keyAccount    = 'a' // ‖ address
	keyDeposit    = 'd' // ‖ external transaction hash
	keyMarket     = 'm' // ‖ base ‖ quote
	keyMarketAt   = 'i' // ‖ index u16: base ‖ quote
	keyMarketName = 'n' // ‖ name: base ‖ quote
	keyParams     = 'p'
	keyParty      = 'l' // ‖ role ‖ address, and ‖ page u64: ids of theses
	keyQuote      = 'u' // ‖ quote hash: id of its thesis
	keySystem     = 's'
	keyThesis     = 't' // ‖ id u64
	keyTotals     = 'b'
	keyWallet     = 'w' // ‖ account ‖ wallet
	keyWithdrawal = 'x' // ‖ id u64
)

// AccountKey is the state key of an account.
func AccountKey(a tx.Address) []byte { return append([]byte{keyAccount}, a[:]...) }

// ThesisKey is the state key of a thesis.
func ThesisKey(id uint64) []byte {
	k := [9]byte{keyThesis}
	putBigU64(k[1:], id)
	return k[:]
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

func (m *Module) withdrawalKey(id uint64) []byte { return m.numberKey(keyWithdrawal, id) }

func (m *Module) thesisKey(id uint64) []byte { return m.numberKey(keyThesis, id) }

func (m *Module) quoteKey(h *tx.Hash) []byte {
	m.key[0] = keyQuote
	*(*tx.Hash)(m.key[1:]) = *h
	return m.key[:1+len(h)]
}

func (m *Module) numberKey(prefix byte, id uint64) []byte {
	m.key[0] = prefix
	putBigU64(m.key[1:], id)
	return m.key[:9]
}

func (m *Module) plainKey(prefix byte) []byte { return append(m.key[:0], prefix) }

// putBigU64 writes the number in a key.
func putBigU64(b []byte, v uint64) {
	_ = b[7]
	b[0], b[1], b[2], b[3] = byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32)
	b[4], b[5], b[6], b[7] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}
