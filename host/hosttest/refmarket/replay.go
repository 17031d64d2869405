package refmarket

import (
	"slices"

	"github.com/kaizenchain/kaizen/stf-modules/rfq/tx"
)

// Replay protection: a timestamp within two days of the block's, and no
// transaction twice. Each signer's last 80 are remembered; what is older than the
// oldest of a full 80 counts as seen.
const (
	maxSkewMs     = 2 * 24 * 3600 * 1000
	maxRemembered = 80
)

// wallet is a key that may sign for an account. One that was revoked or has
// expired keeps its place while what it signed could come again.
type wallet struct {
	address tx.Address
	expiry  uint64
	revoked bool
	seen    window
}

// window is what one signer has had executed.
type window struct {
	from, newest uint64
	seen         []seen
}

type seen struct {
	timestamp uint64
	id        tx.Hash
}

func (a *account) wallet(address tx.Address) *wallet {
	for _, w := range a.wallets {
		if w.address == address {
			return w
		}
	}
	return nil
}

func (m *Market) maySign(w *wallet) bool { return !w.revoked && (w.expiry == 0 || m.now < w.expiry) }

// admit attributes a transaction and remembers it; a failure here means that it
// belongs in no block.
func (m *Market) admit(in *Input) (signer tx.Address) {
	failIf(!in.WellFormed, "MalformedTransaction")
	at := in.Tx.Timestamp
	failIf(at > m.now && at-m.now > maxSkewMs || at < m.now && m.now-at > maxSkewMs, "InvalidTimestamp")
	unsigned := "InvalidSignature"
	if in.Tx.Kind == tx.KindRfqSubmit && in.Tx.From == in.Tx.RfqSubmit.Quote.Solver {
		unsigned = "InvalidSolverSignature"
	}
	failIf(!in.SignerOK, unsigned)
	own, others := m.windows(in.Tx.From, in.Signer)
	failIf(own == nil, unsigned)
	all := append(others, own)
	for _, w := range all {
		failIf(slices.Contains(w.seen, seen{at, in.ID}), "DuplicateTransaction")
	}
	for _, w := range all {
		failIf(at < w.from, "InvalidTimestamp")
	}
	failIf(!own.remember(at, in.ID, m.now), "InvalidTimestamp")
	return in.Signer
}

// windows finds the signer's window, nil if it may not sign for the account, and
// those of all other signers the account ever had.
func (m *Market) windows(from, signer tx.Address) (own *window, others []*window) {
	a := m.account(from)
	if signer == from {
		own = &a.own
	} else {
		others = append(others, &a.own)
	}
	for _, w := range a.wallets {
		if w.address == signer && m.maySign(w) {
			own = &w.seen
		} else {
			others = append(others, &w.seen)
		}
	}
	return own, others
}

// remember takes a transaction into the window; it reports false, and does
// nothing, if there is no room for one this old.
func (w *window) remember(at uint64, id tx.Hash, now uint64) bool {
	kept := slices.DeleteFunc(slices.Clone(w.seen), func(s seen) bool { return s.timestamp+maxSkewMs < now })
	from := w.from
	if len(kept) == maxRemembered {
		oldest := slices.MinFunc(kept, func(a, b seen) int { return compare(a.timestamp, b.timestamp) }).timestamp
		if at <= oldest {
			return false
		}
		from = oldest + 1
		kept = slices.DeleteFunc(kept, func(s seen) bool { return s.timestamp < from })
	}
	w.from, w.newest, w.seen = from, max(w.newest, at), append(kept, seen{at, id})
	return true
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
