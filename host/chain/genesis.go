package chain

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// GenesisVersion is the version of the genesis document's encoding.
const GenesisVersion uint16 = 1

// Genesis is everything that decides results and is fixed for the life of a
// chain. Two nodes whose documents differ are on different chains.
type Genesis struct {
	ChainID        uint64
	Time           uint64 // ms; block 1 is later
	IntervalMs     uint64
	MaxTxsPerBlock uint32
	MaxStaleMs     uint64
	SettlerEnabled bool
	Settler        Address
	Sequencer      [ed25519.PublicKeySize]byte
	ModuleHash     Hash
	Params         []byte // the module's own parameters, in the module's encoding
}

// Accepted ranges of genesis values.
const (
	// MaxParamsBytes bounds the module's parameters, bytes.
	MaxParamsBytes = MaxGenesisBytes - 1<<10

	MinIntervalMs, MaxIntervalMs = 10, 60_000
	MinStaleMs, MaxStaleMs       = 1, 3_600_000
)

// ErrGenesis is wrapped by [Genesis.Validate] with the field, its value and what
// is accepted.
var ErrGenesis = errors.New("genesis value out of range")

// Validate checks every range.
func (g *Genesis) Validate() error {
	switch {
	case g.ChainID == 0:
		return fmt.Errorf("%w: chain_id is 0, want 1 or more", ErrGenesis)
	case g.IntervalMs < MinIntervalMs || g.IntervalMs > MaxIntervalMs:
		return fmt.Errorf("%w: block.interval_ms is %d, want %d to %d", ErrGenesis, g.IntervalMs, MinIntervalMs, MaxIntervalMs)
	case g.MaxTxsPerBlock < 1 || g.MaxTxsPerBlock > MaxBlockTxs:
		return fmt.Errorf("%w: block.max_txs_per_block is %d, want 1 to %d", ErrGenesis, g.MaxTxsPerBlock, MaxBlockTxs)
	case g.MaxStaleMs < MinStaleMs || g.MaxStaleMs > MaxStaleMs:
		return fmt.Errorf("%w: oracle.max_stale_ms is %d, want %d to %d", ErrGenesis, g.MaxStaleMs, MinStaleMs, MaxStaleMs)
	case len(g.Params) > MaxParamsBytes:
		return fmt.Errorf("%w: module parameters are %d bytes, limit %d", ErrGenesis, len(g.Params), MaxParamsBytes)
	}
	return nil
}

// Append appends the encoding of g; a module's genesis export receives it.
func (g *Genesis) Append(dst []byte) []byte {
	dst = abi.AppendU16(dst, GenesisVersion)
	dst = abi.AppendU64(dst, g.ChainID)
	dst = abi.AppendU64(dst, g.Time)
	dst = abi.AppendU64(dst, g.IntervalMs)
	dst = abi.AppendU32(dst, g.MaxTxsPerBlock)
	dst = abi.AppendU64(dst, g.MaxStaleMs)
	dst = abi.AppendBool(dst, g.SettlerEnabled)
	dst = append(dst, g.Settler[:]...)
	dst = append(dst, g.Sequencer[:]...)
	dst = append(dst, g.ModuleHash[:]...)
	return abi.AppendBytes(dst, g.Params)
}

// DecodeGenesis reads exactly one document.
func DecodeGenesis(b []byte) (*Genesis, error) {
	r := abi.NewReader(b)
	if v := r.U16(); r.OK() && v != GenesisVersion {
		return nil, fmt.Errorf("genesis: version %d, this program reads %d: %w", v, GenesisVersion, ErrMalformed)
	}
	g := &Genesis{ChainID: r.U64(), Time: r.U64(), IntervalMs: r.U64(), MaxTxsPerBlock: r.U32(), MaxStaleMs: r.U64(),
		SettlerEnabled: r.Bool(), Settler: r.Bytes20(), Sequencer: r.Bytes32(), ModuleHash: r.Bytes32()}
	g.Params = r.Bytes(MaxParamsBytes)
	if !r.Done() {
		return nil, malformed("genesis")
	}
	return g, nil
}

// Hash is the document's hash, the Parent of block 0.
func (g *Genesis) Hash() Hash { return sum(tagGenesis, g.Append(nil)) }

// Header is block 0's, given what the module's genesis run came to.
func (g *Genesis) Header(stateRoot Hash, results *Results) Header {
	oracle := OracleSnapshot{}
	return Header{
		Version: BlockVersion, ChainID: g.ChainID, Parent: g.Hash(), Time: g.Time,
		OracleHash: oracle.Hash(), TxsRoot: TxsRoot(nil), ReceiptsRoot: results.Root(),
		StateRoot: stateRoot, ModuleHash: g.ModuleHash, Sequencer: g.Sequencer,
	}
}
