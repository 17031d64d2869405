package sdk

import "github.com/kaizenchain/kaizen/stf-modules/abi"

// MaxPrices bounds the prices of one oracle snapshot, as the host's own limit
// does (chain.MaxMarkets).
const MaxPrices = 256

// genesisVersion is the version of the genesis document that this SDK reads
// (chain.GenesisVersion).
const genesisVersion = 1

// Genesis is the chain's genesis document, as host/chain encodes it.
type Genesis struct {
	ChainID        uint64
	Time           uint64 // ms
	IntervalMs     uint64
	MaxTxsPerBlock uint32
	MaxStaleMs     uint64
	SettlerEnabled bool
	Settler        [20]byte
	Sequencer      [32]byte // ed25519 public key
	ModuleHash     [32]byte
	Params         []byte // the module's own, in the module's own encoding
}

func (g *Genesis) decode(b []byte) bool {
	r := abi.NewReader(b)
	if r.U16() != genesisVersion {
		return false
	}
	g.ChainID, g.Time, g.IntervalMs = r.U64(), r.U64(), r.U64()
	g.MaxTxsPerBlock, g.MaxStaleMs = r.U32(), r.U64()
	g.SettlerEnabled, g.Settler = r.Bool(), r.Bytes20()
	g.Sequencer, g.ModuleHash = r.Bytes32(), r.Bytes32()
	g.Params = r.Bytes(abi.MaxInputBytes)
	return r.Done()
}

// Price is one market's price: base in units of quote, 6 decimals, as observed at
// Timestamp, ms.
type Price struct {
	Base, Quote [20]byte
	Price       uint64
	Timestamp   uint64
}

// Oracle is the snapshot in force for a block, as host/chain encodes it: pairs
// in ascending order, each once.
type Oracle struct {
	Timestamp uint64 // when the service answered, ms; 0 before the first answer
	Stale     bool   // older than max_stale_ms at the block's time
	n         int
	prices    [MaxPrices]Price
}

// Prices are the snapshot's, valid until the call returns.
func (o *Oracle) Prices() []Price { return o.prices[:o.n] }

func (o *Oracle) decode(b []byte) bool {
	r := abi.NewReader(b)
	o.Timestamp, o.Stale = r.U64(), r.Bool()
	o.n = int(min(r.U32(), MaxPrices+1))
	if o.n > MaxPrices {
		o.n = 0
		return false
	}
	for i := range o.n {
		o.prices[i] = Price{Base: r.Bytes20(), Quote: r.Bytes20(), Price: r.U64(), Timestamp: r.U64()}
	}
	return r.Done()
}
