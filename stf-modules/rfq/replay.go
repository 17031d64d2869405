package rfq

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// Replay protection (protocol section 4): which transactions a signer has had
// executed, in bounded state.
//
// A window holds the timestamps and ids of a signer's newest transactions. An
// entry that has left the time window can be forgotten, since its timestamp alone
// now refuses it. When the window is full of entries that have not, the oldest
// goes, and nothing up to its timestamp is taken any more, because whether it was
// executed is no longer known: from is the least timestamp that is. So a signer
// may send up to windowEntries transactions in any order, and any number in
// ascending order.
//
//	from u64, newest u64, count u8, count × { low u32, id [8] }
//
// Entries ascend by timestamp. Only the low 32 bits are stored: all entries are
// within 4 days of the newest, and 2^32 ms are 49 days.

// MaxSkewMs is how far a transaction's timestamp may be from the block's time, on
// either side, inclusive: 2 days in ms.
const MaxSkewMs = 2 * 24 * 3600 * 1000

// Sizes of a replay window.
const (
	windowEntries   = 80 // the contract asks for 64 in any order
	windowHeader    = 8 + 8 + 1
	entryBytes      = 4 + 8
	maxWindowBytes  = windowHeader + windowEntries*entryBytes
	replayStateCeil = 1 << 10 // bytes a signer's replay state may take
)

// The state that one signer costs is bounded (protocol section 4).
var _ [replayStateCeil - maxWindowBytes]struct{}

// window is the encoding of a replay window; the zero-length window is empty and
// must be made with emptyWindow before anything is added.
type window []byte

// replay is room for a window.
type replay struct {
	buf [maxWindowBytes]byte
	n   int
}

func (r *replay) window() window { return r.buf[:r.n] }

// load takes a copy of an encoded window, or of an empty one.
func (r *replay) load(b []byte, ok bool) {
	if !ok {
		clear(r.buf[:windowHeader])
		r.n = windowHeader
		return
	}
	r.n = copy(r.buf[:], b)
}

func (w window) from() uint64   { return abi.U64(w) }
func (w window) newest() uint64 { return abi.U64(w[8:]) }
func (w window) count() int     { return int(w[16]) }

// stamp is the timestamp of entry i.
func (w window) stamp(i int) uint64 {
	newest := w.newest()
	return newest - uint64(uint32(newest)-abi.U32(w[windowHeader+i*entryBytes:]))
}

// search is the first entry whose timestamp is at least ts.
func (w window) search(ts uint64) int {
	lo, hi := 0, w.count()
	switch { // the two answers that a signer with a clock gets
	case hi == 0 || ts > w.newest():
		return hi
	case ts <= w.stamp(0):
		return 0
	}
	for lo < hi {
		if mid := (lo + hi) / 2; w.stamp(mid) < ts {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// has reports whether the transaction is in the window.
func (w window) has(ts uint64, id *[32]byte) bool {
	for i := w.search(ts); i < w.count() && w.stamp(i) == ts; i++ {
		if abi.U64(w[windowHeader+i*entryBytes+4:]) == abi.U64(id[:]) {
			return true
		}
	}
	return false
}

// stale counts the entries that have left the time window.
func (w window) stale(now uint64) int {
	if now <= MaxSkewMs {
		return 0
	}
	return w.search(now - MaxSkewMs)
}

// open is the least timestamp that the window has room for.
func (w window) open(now uint64) uint64 {
	if w.count() == windowEntries && w.stale(now) == 0 {
		return w.stamp(0) + 1
	}
	return w.from()
}

// appends reports whether a transaction goes behind all others and makes none
// leave: what a signer with a clock does.
func (w window) appends(now, ts uint64) bool {
	n := w.count()
	return ts > w.newest() && n < windowEntries && (n == 0 || w.stamp(0)+MaxSkewMs >= now)
}

func putEntry(e []byte, ts uint64, id *[32]byte) {
	_ = e[entryBytes-1]
	abi.PutU32(e, uint32(ts))
	abi.PutU64(e[4:], abi.U64(id[:]))
}

// insert adds a transaction whose timestamp is open, in place; the buffer under w
// has room for a full window. It returns the window, whose length has changed.
func (w window) insert(now, ts uint64, id *[32]byte) window {
	drop := w.stale(now)
	if w.count()-drop == windowEntries {
		from := w.stamp(0) + 1
		abi.PutU64(w, from)
		for drop < windowEntries && w.stamp(drop) < from {
			drop++
		}
	}
	w = w.dropFirst(drop)
	n := w.count()
	at := n
	if ts <= w.newest() {
		at = w.search(ts)
	}
	w = w[:len(w)+entryBytes]
	e := w[windowHeader+at*entryBytes:]
	if at < n {
		copy(e[entryBytes:], e[:(n-at)*entryBytes])
	}
	putEntry(e, ts, id)
	w[16] = byte(n + 1)
	if ts > w.newest() {
		abi.PutU64(w[8:], ts)
	}
	return w
}

func (w window) dropFirst(n int) window {
	if n == 0 {
		return w
	}
	copy(w[windowHeader:], w[windowHeader+n*entryBytes:])
	w[16] -= byte(n)
	return w[:len(w)-n*entryBytes]
}
