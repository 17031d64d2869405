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
	key [1 + 20]byte // in state: its address is in it
	buf [maxAccount]byte
	n   int
}

// blank is the record of an account that does not exist.
var blank [accountHeader + windowHeader]byte

func (a *account) address() tx.Address { return tx.Address(a.key[1:]) }
func (a *account) balance() uint64     { return abi.U64(a.buf[atBalance:]) }
func (a *account) locked() uint64      { return abi.U64(a.buf[atLocked:]) }
func (a *account) permissions() uint8  { return a.buf[atPermissions] }
func (a *account) blacklisted() bool   { return a.buf[atFlags]&flagBlacklisted != 0 }
func (a *account) setBalance(v uint64) { abi.PutU64(a.buf[atBalance:], v) }
func (a *account) setLocked(v uint64)  { abi.PutU64(a.buf[atLocked:], v) }
func (a *account) may(perm uint8) bool { return a.permissions()&perm != 0 }
func (a *account) wallets() int        { return int(a.buf[atWallets]) }
func (a *account) windowAt() int       { return accountHeader + a.wallets()*walletBytes }
func (a *account) window() window      { return a.buf[a.windowAt():a.n] }

// remember adds a transaction to the owner's replay window.
func (a *account) remember(now, ts uint64, id *tx.Hash) {
	w := a.window()
	if w.appends(now, ts) {
		putEntry(a.buf[a.n:], ts, id)
		w[16]++
		abi.PutU64(w[8:], ts)
		a.n += entryBytes
		return
	}
	a.n = a.windowAt() + len(w.insert(now, ts, id))
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
func (a *account) read(env *sdk.Env, address *tx.Address) {
	a.is(address)
	a.n = env.Load(a.key[:], a.buf[:])
	if a.n < 0 {
		a.clear()
	}
}

// loaded takes over what a batch has read into a, which is already the account.
func (a *account) loaded(r *sdk.Request) {
	if a.n = r.Answer(); a.n < 0 {
		a.clear()
	}
}

// is makes a the account of an address.
func (a *account) is(address *tx.Address) {
	a.key[0] = keyAccount
	abi.Copy20((*tx.Address)(a.key[1:]), address)
}

// clear makes a the record of an account that does not exist.
func (a *account) clear() { a.n = copy(a.buf[:], blank[:]) }

func (a *account) write(env *sdk.Env) { env.Set(a.key[:], a.buf[:a.n]) }

// credit adds to the balance. The sum fits: all balances together are at most what
// was deposited, which does.
func (a *account) credit(amount uint64) {
	sum := a.balance() + amount
	if sum < amount {
		panic("balance beyond the total supply")
	}
	a.setBalance(sum)
}
