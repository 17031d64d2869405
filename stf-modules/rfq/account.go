package rfq

import (
	"github.com/kaizenchain/kaizen/stf-modules/abi"
	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
	"github.com/kaizenchain/kaizen/stf-modules/sdk"
)

// An account's record:
//
//	balance u64, locked u64, permissions u8, flags u8, count u8,
//	count × { wallet [20], expiry u64, revoked u8 }, replay window
//
// It is read and written in place: on the hot path only the fields that change
// are touched.
const (
	atBalance     = 0
	atLocked      = 8
	atPermissions = 16
	atFlags       = 17
	atWallets     = 18 // count, then the wallets
	accountHeader = 19
	walletBytes   = 20 + 8 + 1
	maxAccount    = accountHeader + MaxApiWallets*walletBytes + maxWindowBytes
)

// MaxApiWallets bounds the API wallets of an account, counting those whose
// transactions are still remembered.
const MaxApiWallets = 16

// Flags of an account.
const flagBlacklisted = 1

// account is a copy of an account's record.
type account struct {
	address tx.Address
	buf     [maxAccount]byte
	n       int
}

// blank is the record of an account that does not exist.
var blank [accountHeader + windowHeader]byte

func (a *account) bytes() []byte       { return a.buf[:a.n] }
func (a *account) balance() uint64     { return getU64(a.buf[atBalance:]) }
func (a *account) locked() uint64      { return getU64(a.buf[atLocked:]) }
func (a *account) permissions() uint8  { return a.buf[atPermissions] }
func (a *account) blacklisted() bool   { return a.buf[atFlags]&flagBlacklisted != 0 }
func (a *account) setBalance(v uint64) { putU64(a.buf[atBalance:], v) }
func (a *account) setLocked(v uint64)  { putU64(a.buf[atLocked:], v) }
func (a *account) may(perm uint8) bool { return a.permissions()&perm != 0 }
func (a *account) wallets() int        { return int(a.buf[atWallets]) }
func (a *account) windowAt() int       { return accountHeader + a.wallets()*walletBytes }
func (a *account) window() window      { return a.buf[a.windowAt():a.n] }

// remember adds a transaction to the owner's replay window.
func (a *account) remember(now, ts uint64, id *tx.Hash) {
	a.n = a.windowAt() + len(a.window().insert(now, ts, id))
}

// wallet is one API wallet in an account's record.
type wallet struct {
	Address tx.Address
	Expiry  uint64 // ms, 0 = never
	Revoked bool
}

// usable reports whether the wallet may sign at that time.
func (w *wallet) usable(now uint64) bool {
	return !w.Revoked && (w.Expiry == 0 || now < w.Expiry)
}

func (a *account) walletAt(i int) (w wallet) {
	r := abi.NewReader(a.buf[accountHeader+i*walletBytes:][:walletBytes])
	return wallet{Address: r.Bytes20(), Expiry: r.U64(), Revoked: r.Bool()}
}

func (a *account) setWallet(i int, w wallet) {
	b := append(a.buf[accountHeader+i*walletBytes:][:0], w.Address[:]...)
	abi.AppendBool(abi.AppendU64(b, w.Expiry), w.Revoked)
}

// addWallet makes room for one more wallet, before the replay window.
func (a *account) addWallet(w wallet) {
	at := a.windowAt()
	copy(a.buf[at+walletBytes:], a.buf[at:a.n])
	a.n += walletBytes
	a.buf[atWallets]++
	a.setWallet(a.wallets()-1, w)
}

// findWallet is the index of an address among the wallets, or -1.
func (a *account) findWallet(address *tx.Address) int {
	for i := range a.wallets() {
		if string(a.buf[accountHeader+i*walletBytes:][:20]) == string(address[:]) {
			return i
		}
	}
	return -1
}

// read fills a with the account's record, or a blank one.
func (m *Module) read(env *sdk.Env, a *account, address *tx.Address) {
	a.address = *address
	n, ok := env.GetInto(m.accountKey(address), a.buf[:])
	if !ok {
		n = copy(a.buf[:], blank[:])
	}
	a.n = n
}

func (m *Module) write(env *sdk.Env, a *account) {
	env.Set(m.accountKey(&a.address), a.bytes())
}

// record is the record of an account that is not the sender's copy, or a blank
// one: valid until the next read.
func (m *Module) record(env *sdk.Env, address *tx.Address) []byte {
	if b, ok := env.Get(m.accountKey(address)); ok {
		return b
	}
	return append(m.event[:0], blank[:]...)
}

// credit adds to the balance in a record. The sum fits: all balances together are
// at most what was deposited, which does.
func credit(record []byte, amount uint64) {
	sum := getU64(record) + amount
	if sum < amount {
		panic("balance beyond the total supply")
	}
	putU64(record, sum)
}
