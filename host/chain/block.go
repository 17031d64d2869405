package chain

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// BlockVersion is the version of the header and block encoding.
const BlockVersion uint16 = 1

// Price is one market's price in an oracle snapshot: base in units of quote, 6
// decimals, as observed at Timestamp, ms.
type Price struct {
	Base, Quote Address
	Price       uint64
	Timestamp   uint64
}

// OracleSnapshot is the set of prices in force for a whole block (K-06, K-13).
// Prices are in ascending order of (Base, Quote), each pair once.
type OracleSnapshot struct {
	Timestamp uint64 // when the service answered, ms; 0 before the first answer
	Stale     bool   // older than max_stale_ms at the block's time (K-12)
	Prices    []Price
}

// Header commits to everything in a block and to the state after it.
type Header struct {
	Version      uint16
	ChainID      uint64
	Height       uint64
	Parent       Hash   // hash of the parent's header; of the genesis document at height 0
	Time         uint64 // ms, strictly greater than the parent's
	OracleHash   Hash
	TxsRoot      Hash // Merkle root over the transactions' bytes
	ReceiptsRoot Hash // Merkle root over begin-block events, receipts, end-block events
	StateRoot    Hash // state after this block
	ModuleHash   Hash // SHA-256 of the module that executed it
	Sequencer    [ed25519.PublicKeySize]byte
	Signature    [ed25519.SignatureSize]byte // ed25519 over the header hash; zero at height 0
}

// Block is a header and what it commits to.
type Block struct {
	Header Header
	Oracle OracleSnapshot
	Txs    [][]byte // each the encoding of one transaction
}

// headerBytes is the encoded size of a header without its signature.
const headerBytes = 2 + 3*8 + 6*32 + ed25519.PublicKeySize

// HeaderBytes is the encoded size of a header.
const HeaderBytes = headerBytes + ed25519.SignatureSize

func (h *Header) appendUnsigned(dst []byte) []byte {
	dst = abi.AppendU16(dst, h.Version)
	dst = abi.AppendU64(dst, h.ChainID)
	dst = abi.AppendU64(dst, h.Height)
	dst = append(dst, h.Parent[:]...)
	dst = abi.AppendU64(dst, h.Time)
	for _, p := range []*Hash{&h.OracleHash, &h.TxsRoot, &h.ReceiptsRoot, &h.StateRoot, &h.ModuleHash} {
		dst = append(dst, p[:]...)
	}
	return append(dst, h.Sequencer[:]...)
}

// Append appends the encoding of h.
func (h *Header) Append(dst []byte) []byte {
	return append(h.appendUnsigned(dst), h.Signature[:]...)
}

func readHeader(r *abi.Reader) (h Header) {
	h.Version = r.U16()
	h.ChainID = r.U64()
	h.Height = r.U64()
	h.Parent = r.Bytes32()
	h.Time = r.U64()
	for _, p := range []*Hash{&h.OracleHash, &h.TxsRoot, &h.ReceiptsRoot, &h.StateRoot, &h.ModuleHash} {
		*p = r.Bytes32()
	}
	h.Sequencer = r.Bytes32()
	copy(h.Signature[:], r.Take(ed25519.SignatureSize))
	return h
}

// DecodeHeader reads exactly one header.
func DecodeHeader(b []byte) (Header, error) {
	r := abi.NewReader(b)
	h := readHeader(&r)
	if !r.Done() {
		return Header{}, malformed("header")
	}
	if h.Version != BlockVersion {
		return Header{}, fmt.Errorf("header: version %d, this program reads %d: %w", h.Version, BlockVersion, ErrMalformed)
	}
	return h, nil
}

// Hash is the block's hash: the header without its signature, under its own
// domain tag.
func (h *Header) Hash() Hash {
	return sum(tagHeader, h.appendUnsigned(make([]byte, 0, headerBytes)))
}

// ID is the block's number and hash.
func (h *Header) ID() BlockID { return BlockID{Number: h.Height, Hash: h.Hash()} }

// Sign signs the header with the sequencer's key. ed25519 is deterministic: the
// same header always gets the same signature.
func (h *Header) Sign(key ed25519.PrivateKey) {
	id := h.Hash()
	copy(h.Signature[:], ed25519.Sign(key, id[:]))
}

// Errors that [Header.Follows] and [Block.Check] return, wrapped with both values.
var (
	ErrParent    = errors.New("block does not follow its parent")
	ErrTime      = errors.New("block time does not increase")
	ErrSequencer = errors.New("block is not by this chain's sequencer")
	ErrSignature = errors.New("block signature does not verify")
	ErrContents  = errors.New("block contents differ from its header")
	ErrTooLarge  = errors.New("block is larger than allowed")
)

// Follows checks everything about h that its parent decides: link, height, time,
// chain, sequencer and signature. The module hash is the executor's to check.
func (h *Header) Follows(parent *Header) error {
	if err := h.Extends(parent); err != nil {
		return err
	}
	return h.VerifySignature()
}

// Extends is [Header.Follows] for a caller that calls [Header.VerifySignature] itself,
// which needs no parent and takes longest.
func (h *Header) Extends(parent *Header) error {
	switch {
	case h.ChainID != parent.ChainID:
		return fmt.Errorf("%w: chain id %d, want %d", ErrParent, h.ChainID, parent.ChainID)
	case h.Height != parent.Height+1:
		return fmt.Errorf("%w: height %d, want %d", ErrParent, h.Height, parent.Height+1)
	case h.Parent != parent.Hash():
		return fmt.Errorf("%w: block %d names parent %s, want %s", ErrParent, h.Height, h.Parent, parent.Hash())
	case h.Time <= parent.Time:
		return fmt.Errorf("%w: block %d has %d, its parent %d", ErrTime, h.Height, h.Time, parent.Time)
	case h.Sequencer != parent.Sequencer:
		return fmt.Errorf("%w: block %d has key %x, want %x", ErrSequencer, h.Height, h.Sequencer, parent.Sequencer)
	}
	return nil
}

// VerifySignature checks the signature against the header's own sequencer key.
func (h *Header) VerifySignature() error {
	id := h.Hash()
	if !ed25519.Verify(h.Sequencer[:], id[:], h.Signature[:]) {
		return fmt.Errorf("%w: block %d, hash %s", ErrSignature, h.Height, id)
	}
	return nil
}

// Check compares a block's contents with the two roots that bind them, and the
// block with the limits. maxTxs is the chain's own `max_txs_per_block`.
func (b *Block) Check(maxTxs uint32) error {
	if err := b.CheckBesideTxs(maxTxs); err != nil {
		return err
	}
	return b.CheckTxs(TxsRoot(b.Txs))
}

// CheckBesideTxs is [Block.Check] without the transactions root, for a caller that
// hashes the transactions anyway and calls [Block.CheckTxs] then.
func (b *Block) CheckBesideTxs(maxTxs uint32) error {
	if len(b.Txs) > int(maxTxs) {
		return fmt.Errorf("%w: block %d has %d transactions, limit %d", ErrTooLarge, b.Header.Height, len(b.Txs), maxTxs)
	}
	if got := b.Oracle.Hash(); got != b.Header.OracleHash {
		return fmt.Errorf("%w: block %d oracle hash is %s, header says %s", ErrContents, b.Header.Height, got, b.Header.OracleHash)
	}
	return nil
}

// CheckTxs compares the root of a block's transactions with its header.
func (b *Block) CheckTxs(root Hash) error {
	if root != b.Header.TxsRoot {
		return fmt.Errorf("%w: block %d transactions root is %s, header says %s", ErrContents, b.Header.Height, root, b.Header.TxsRoot)
	}
	return nil
}

// Append appends the encoding of s.
func (s *OracleSnapshot) Append(dst []byte) []byte {
	dst = abi.AppendU64(dst, s.Timestamp)
	dst = abi.AppendBool(dst, s.Stale)
	dst = abi.AppendU32(dst, uint32(len(s.Prices)))
	for i := range s.Prices {
		p := &s.Prices[i]
		dst = append(append(dst, p.Base[:]...), p.Quote[:]...)
		dst = abi.AppendU64(abi.AppendU64(dst, p.Price), p.Timestamp)
	}
	return dst
}

const priceBytes = 20 + 20 + 8 + 8

func readOracle(r *abi.Reader) (s OracleSnapshot) {
	s.Timestamp = r.U64()
	s.Stale = r.Bool()
	n := r.Count(priceBytes)
	if n > MaxMarkets {
		r.Fail()
		return OracleSnapshot{}
	}
	if n > 0 {
		s.Prices = make([]Price, n)
	}
	for i := range s.Prices {
		s.Prices[i] = Price{Base: r.Bytes20(), Quote: r.Bytes20(), Price: r.U64(), Timestamp: r.U64()}
		if i > 0 && s.Prices[i-1].Compare(&s.Prices[i]) >= 0 {
			r.Fail()
		}
	}
	return s
}

// Compare orders prices by (Base, Quote).
func (p *Price) Compare(q *Price) int {
	if c := bytes.Compare(p.Base[:], q.Base[:]); c != 0 {
		return c
	}
	return bytes.Compare(p.Quote[:], q.Quote[:])
}

// DecodeOracle reads exactly one snapshot; pairs that repeat or are out of order
// are malformed.
func DecodeOracle(b []byte) (OracleSnapshot, error) {
	r := abi.NewReader(b)
	s := readOracle(&r)
	if !r.Done() {
		return OracleSnapshot{}, malformed("oracle snapshot")
	}
	return s, nil
}

// Hash is what a header's OracleHash holds.
func (s *OracleSnapshot) Hash() Hash { return sum(tagOracle, s.Append(nil)) }

// Append appends the encoding of b.
func (b *Block) Append(dst []byte) []byte {
	dst = b.Header.Append(dst)
	dst = b.Oracle.Append(dst)
	dst = abi.AppendU32(dst, uint32(len(b.Txs)))
	for _, tx := range b.Txs {
		dst = abi.AppendBytes(dst, tx)
	}
	return dst
}

// Size is the length of the encoding.
func (b *Block) Size() int {
	n := HeaderBytes + OracleBytes(len(b.Oracle.Prices)) + 4
	for _, tx := range b.Txs {
		n += 4 + len(tx)
	}
	return n
}

// OracleBytes is the encoded size of a snapshot with n prices.
func OracleBytes(n int) int { return 8 + 1 + 4 + n*priceBytes }

// DecodeBlock reads exactly one block. The transactions are views into p.
func DecodeBlock(p []byte) (*Block, error) {
	if len(p) > MaxBlockBytes {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(p), MaxBlockBytes)
	}
	r := abi.NewReader(p)
	b := &Block{Header: readHeader(&r), Oracle: readOracle(&r)}
	n := r.Count(4)
	if n > MaxBlockTxs {
		return nil, fmt.Errorf("%w: %d transactions, limit %d", ErrTooLarge, n, MaxBlockTxs)
	}
	if n > 0 {
		b.Txs = make([][]byte, n)
	}
	for i := range b.Txs {
		b.Txs[i] = r.Bytes(abi.MaxTxBytes)
	}
	if !r.Done() {
		return nil, malformed("block")
	}
	if b.Header.Version != BlockVersion {
		return nil, fmt.Errorf("block: version %d, this program reads %d: %w", b.Header.Version, BlockVersion, ErrMalformed)
	}
	return b, nil
}

// Describe is one stable line: what a log, a scenario file or an operator needs.
func (b *Block) Describe() string {
	h := &b.Header
	id := h.Hash()
	return fmt.Sprintf("block %d %s parent %s time %d txs %d root %s", h.Height, id.Short(), h.Parent.Short(), h.Time, len(b.Txs), h.StateRoot.Short())
}
