// Package api holds what travels over JSON-RPC: the shapes of every answer, the
// height argument, and the error table. The server (host/rpc) and the Go client
// (host/rpc/client) both use these types, so they cannot drift apart; RPC.md and
// ERRORS.md in host/rpc are the same in prose.
//
// It imports host/chain, the module contract and the JSON scanner next door; it
// must not import an adapter, a network library or anything that can block.
//
//	u64 amounts, prices, salts   decimal strings   [Amount]
//	heights, indexes, ms times   JSON numbers      uint64
//	bytes                        0x-hex            [Bytes], chain.Hash, chain.Address
//
// Values may be shared between goroutines as long as nobody writes to them.
package api

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Version is the version of the RPC interface; it changes when an answer loses
// or changes a field.
const Version = 1

// Amount is a u64 amount, price or salt: a decimal string in JSON, so that no
// reader passes it through a float.
type Amount uint64

// MarshalText implements [encoding.TextMarshaler].
func (a Amount) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(a), 10), nil }

// UnmarshalText accepts decimal digits without sign or leading zeros.
func (a *Amount) UnmarshalText(b []byte) error {
	v, err := ParseUint(string(b))
	*a = Amount(v)
	return err
}

// ParseUint reads a u64 in its one decimal spelling: digits only, no sign, no
// leading zeros.
func ParseUint(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || (len(s) > 1 && s[0] == '0') {
		return 0, fmt.Errorf("%.40q: want decimal digits of a u64", s)
	}
	return v, nil
}

// Bytes is any byte string: 0x-hex in JSON.
type Bytes []byte

// MarshalText implements [encoding.TextMarshaler].
func (b Bytes) MarshalText() ([]byte, error) {
	return hex.AppendEncode(append(make([]byte, 0, 2+2*len(b)), '0', 'x'), b), nil
}

// UnmarshalText accepts 0x and an even number of hex digits.
func (b *Bytes) UnmarshalText(text []byte) error {
	v, err := ParseBytes(string(text))
	*b = v
	return err
}

// ParseBytes reads 0x and an even number of hex digits.
func ParseBytes(s string) (Bytes, error) {
	digits, found := strings.CutPrefix(s, "0x")
	if !found {
		return nil, fmt.Errorf("%.40q: want 0x and hex digits", s)
	}
	v, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("%.40q: want 0x and an even number of hex digits", s)
	}
	return v, nil
}

// BlockRef names the block an answer speaks of. Hash is null while the block is
// still open (tag `pending`).
type BlockRef struct {
	Height uint64      `json:"height"`
	Hash   *chain.Hash `json:"hash"`
}

// RefTo names id; a zero hash is that of the open block.
func RefTo(id chain.BlockID) BlockRef {
	if id.Hash == (chain.Hash{}) {
		return BlockRef{Height: id.Number}
	}
	return BlockRef{Height: id.Number, Hash: &id.Hash}
}

// String is "height hash", or "height pending".
func (b BlockRef) String() string {
	if b.Hash == nil {
		return fmt.Sprintf("%d pending", b.Height)
	}
	return fmt.Sprintf("%d %s", b.Height, b.Hash)
}

// Roles of a node.
const (
	RoleWrite = "write"
	RoleRead  = "read"
)

// Info is what does not change while a node runs: the answer of kaizen_info.
type Info struct {
	Role           string     `json:"role"` // RoleWrite or RoleRead
	ChainID        uint64     `json:"chain_id"`
	GenesisHash    chain.Hash `json:"genesis_hash"`
	GenesisTime    uint64     `json:"genesis_time"` // ms
	ModuleHash     chain.Hash `json:"module_hash"`
	Module         ModuleInfo `json:"module"`
	Sequencer      Bytes      `json:"sequencer"` // ed25519 public key
	IntervalMs     uint64     `json:"interval_ms"`
	MaxTxsPerBlock uint64     `json:"max_txs_per_block"`
	MaxStaleMs     uint64     `json:"max_stale_ms"`
	Versions       Versions   `json:"versions"`
}

// ModuleInfo names the state transition module, from its schema.
type ModuleInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Versions of the program and of everything it speaks.
type Versions struct {
	Kaizen string `json:"kaizen"` // of the program
	Go     string `json:"go"`     // of the toolchain that built it
	API    uint64 `json:"api"`    // [Version]
	ABI    uint64 `json:"abi"`    // of the module contract
	Block  uint64 `json:"block"`  // of the block encoding
	Sync   uint64 `json:"sync"`   // of the sync protocol
}

// Status is where a node stands now: the answer of kaizen_status.
type Status struct {
	Role      string       `json:"role"`
	Height    uint64       `json:"height"` // of the newest executed and published block
	Base      uint64       `json:"base"`   // first block kept beside genesis: 1 unless the node prunes or began at a snapshot
	BlockHash chain.Hash   `json:"block_hash"`
	StateRoot chain.Hash   `json:"state_root"`
	HeadTime  uint64       `json:"head_time"` // that block's time, ms
	Lag       uint64       `json:"lag"`       // blocks behind the source of blocks; 0 on a write node
	LagMs     uint64       `json:"lag_ms"`    // the node's clock minus head_time, ms, never negative
	Tips      Tips         `json:"tips"`
	Oracle    OracleStatus `json:"oracle"`
	Peers     []Peer       `json:"peers"`
	Pending   *Pending     `json:"pending,omitempty"` // write node only
	Alarm     string       `json:"alarm,omitempty"`   // why the node holds and does not advance
	UptimeMs  uint64       `json:"uptime_ms"`
}

// OracleStatus is how fresh the prices in force are.
type OracleStatus struct {
	Timestamp uint64 `json:"timestamp"` // ms; 0 before the first answer
	AgeMs     uint64 `json:"age_ms"`
	Stale     bool   `json:"stale"`
}

// Pending describes the write node's open block.
type Pending struct {
	Height       uint64 `json:"height"`
	Transactions uint64 `json:"transactions"`
}

// Peer is one node on the other end of a sync connection.
type Peer struct {
	Address   string `json:"address"`
	Direction string `json:"direction"` // "source": we follow it; "follower": it follows us
	Height    uint64 `json:"height"`    // the last height it named
	Connected bool   `json:"connected"`
}

// Tips are the four tiers (requirements S-01), read at one instant.
type Tips struct {
	Proposed     BlockRef `json:"proposed"`
	Checkpointed Tip      `json:"checkpointed"`
	Proven       Tip      `json:"proven"`
	Finalized    Tip      `json:"finalized"`
}

// Tip is one of the three tiers above proposed (S-03).
type Tip struct {
	Block BlockRef      `json:"block"`
	Batch chain.BatchID `json:"batch"`
}

// TipsOf renders t.
func TipsOf(t chain.Tips) Tips {
	tip := func(t chain.TipID) Tip { return Tip{Block: RefTo(t.Block), Batch: t.Batch} }
	return Tips{Proposed: RefTo(t.Proposed), Checkpointed: tip(t.Checkpointed), Proven: tip(t.Proven), Finalized: tip(t.Finalized)}
}

// Check is one line of GET /readyz.
type Check struct {
	Name   string `json:"name"` // short and stable: caught_up, oracle_fresh, disk …
	OK     bool   `json:"ok"`
	Detail string `json:"detail"` // what was measured against what, for people
}

// Health is the body of GET /readyz, with status 200 if Ready, else 503.
type Health struct {
	Ready  bool    `json:"ready"`
	Checks []Check `json:"checks"`
}

// Status values of a receipt.
const (
	StatusOK      = "ok"
	StatusFailed  = "failed"  // in the block, changed nothing but its replay record
	StatusRefused = "refused" // in no block; only in answers of kaizen_sendTransactions
)

// Receipt is what became of one transaction. Error is null if Status is "ok",
// else the error's name. In an answer of kaizen_sendTransactions a refused
// transaction has Status "refused", ErrorCode as in ERRORS.md, no height and no
// index.
type Receipt struct {
	TxHash      chain.Hash `json:"tx_hash"`
	Height      uint64     `json:"height"`
	Index       uint64     `json:"index"`
	Status      string     `json:"status"`
	Error       *string    `json:"error"`
	ErrorCode   int        `json:"error_code,omitempty"`
	ErrorDetail string     `json:"error_detail,omitempty"`
	Events      []Event    `json:"events"`
	Block       *BlockRef  `json:"block,omitempty"` // kaizen_getReceipt, kaizen_getTransaction, kaizen_simulateTransaction
}

// Simulation is the answer of kaizen_simulateTransaction; a [Receipt] reads it as
// well.
type Simulation struct {
	TxHash      chain.Hash `json:"tx_hash"`
	Status      string     `json:"status"`
	Error       *string    `json:"error"`
	ErrorCode   int        `json:"error_code,omitempty"`
	ErrorDetail string     `json:"error_detail,omitempty"`
	Events      []Event    `json:"events"`
	Block       BlockRef   `json:"block"`
}

// Sent is an entry of the answer of kaizen_sendTransactions; a [Receipt] reads it
// as well. Height and Index are null if the transaction was refused, TxHash if it
// could not be known.
type Sent struct {
	TxHash      *chain.Hash `json:"tx_hash"`
	Height      *uint64     `json:"height"`
	Index       *uint64     `json:"index"`
	Status      string      `json:"status"`
	Error       *string     `json:"error"`
	ErrorCode   int         `json:"error_code,omitempty"`
	ErrorDetail string      `json:"error_detail,omitempty"`
	Events      []Event     `json:"events"`
}

// Transaction is the answer of kaizen_getTransaction, and an entry of a block.
type Transaction struct {
	Receipt
	Raw     Bytes           `json:"raw"`
	Decoded json.RawMessage `json:"decoded,omitempty"` // as the module's decoder renders it
}

// Header is a block header with its hash.
type Header struct {
	Hash             chain.Hash `json:"hash"`
	Version          uint64     `json:"version"`
	ChainID          uint64     `json:"chain_id"`
	Height           uint64     `json:"height"`
	ParentHash       chain.Hash `json:"parent_hash"`
	Time             uint64     `json:"time"` // ms
	OracleHash       chain.Hash `json:"oracle_hash"`
	TransactionsRoot chain.Hash `json:"transactions_root"`
	ReceiptsRoot     chain.Hash `json:"receipts_root"`
	StateRoot        chain.Hash `json:"state_root"`
	ModuleHash       chain.Hash `json:"module_hash"`
	Sequencer        Bytes      `json:"sequencer"`
	Signature        Bytes      `json:"signature"`
}

// HeaderOf renders h.
func HeaderOf(h *chain.Header) Header {
	return Header{
		Hash: h.Hash(), Version: uint64(h.Version), ChainID: h.ChainID, Height: h.Height, ParentHash: h.Parent, Time: h.Time,
		OracleHash: h.OracleHash, TransactionsRoot: h.TxsRoot, ReceiptsRoot: h.ReceiptsRoot, StateRoot: h.StateRoot,
		ModuleHash: h.ModuleHash, Sequencer: h.Sequencer[:], Signature: h.Signature[:],
	}
}

// Chain is the header itself, so that a client can hash it and check its
// signature instead of believing h.Hash.
func (h *Header) Chain() (chain.Header, error) {
	v := chain.Header{
		Version: uint16(h.Version), ChainID: h.ChainID, Height: h.Height, Parent: h.ParentHash, Time: h.Time,
		OracleHash: h.OracleHash, TxsRoot: h.TransactionsRoot, ReceiptsRoot: h.ReceiptsRoot, StateRoot: h.StateRoot, ModuleHash: h.ModuleHash,
	}
	if len(h.Sequencer) != len(v.Sequencer) || len(h.Signature) != len(v.Signature) || h.Version > 0xFFFF {
		return v, fmt.Errorf("header %d: key of %d bytes, signature of %d, version %d: %w", h.Height, len(h.Sequencer), len(h.Signature), h.Version, chain.ErrMalformed)
	}
	copy(v.Sequencer[:], h.Sequencer)
	copy(v.Signature[:], h.Signature)
	return v, nil
}

// Block is the answer of kaizen_getBlock. With transactions "hashes" an entry of
// Transactions has its hash, index, status and error only.
type Block struct {
	Header       Header         `json:"header"`
	Size         uint64         `json:"size"` // bytes of the encoded block
	Oracle       OracleSnapshot `json:"oracle"`
	BeginEvents  []Event        `json:"begin_events"`
	Transactions []Transaction  `json:"transactions"`
	EndEvents    []Event        `json:"end_events"`
}

// OracleSnapshot is the set of prices in force in one block.
type OracleSnapshot struct {
	Timestamp uint64           `json:"timestamp"` // when the price service answered, ms
	Stale     bool             `json:"stale"`
	Prices    map[string]Price `json:"prices"` // by pair, "BTC/USDT"
}

// OraclePrices is the answer of kaizen_getOraclePrices.
type OraclePrices struct {
	OracleSnapshot
	Block BlockRef `json:"block"`
}

// Price is one market's price, 6 decimals, observed at Timestamp, ms.
type Price struct {
	Base      chain.Address `json:"base"`
	Quote     chain.Address `json:"quote"`
	Price     Amount        `json:"price"`
	Decimals  uint64        `json:"decimals"`
	Timestamp uint64        `json:"timestamp"`
}

// Proof is the answer of kaizen_getProof: that Key has Value, or is absent, in
// the state whose root Header holds. Proof is in the encoding of the state
// tree's format document.
type Proof struct {
	Key    Bytes    `json:"key"`
	Value  *Bytes   `json:"value"` // null: the key is absent
	Proof  Bytes    `json:"proof"`
	Header Header   `json:"header"`
	Block  BlockRef `json:"block"`
}

// QueryAnswer is the answer of kaizen_query.
type QueryAnswer struct {
	Result json.RawMessage `json:"result"`
	Block  BlockRef        `json:"block"`
}
