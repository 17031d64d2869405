package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/invariant"
	"github.com/kaizenchain/kaizen/snapshot/fetch"
	"github.com/kaizenchain/kaizen/stf-modules/abi"
)

// Type is the first byte of a frame.
type Type uint8

// Message types. 0x30 to 0x3f belong to snapshots, 0x40 to 0x4f to the event
// stream.
const (
	TypeHello      Type = 0x01
	TypeRefusal    Type = 0x02
	TypePing       Type = 0x03
	TypePong       Type = 0x04
	TypeGetTips    Type = 0x10
	TypeTips       Type = 0x11
	TypeGetBlocks  Type = 0x12
	TypeBlocks     Type = 0x13
	TypeGetHeader  Type = 0x14
	TypeHeader     Type = 0x15
	TypeGetGenesis Type = 0x16
	TypeGenesis    Type = 0x17
	TypeFailed     Type = 0x1f
	TypeSubscribe  Type = 0x20
	TypeDoorbell   Type = 0x21

	TypeSubscribeOpen Type = 0x22
	TypeOpenTxs       Type = 0x23

	TypeGetSnapshots Type = 0x30
	TypeSnapshots    Type = 0x31
	TypeGetManifest  Type = 0x32
	TypeManifest     Type = 0x33
	TypeGetChunk     Type = 0x34
	TypeChunk        Type = 0x35

	TypeGetEvents Type = 0x40
	TypeEvents    Type = 0x41
	TypeGap       Type = 0x42
)

// Role is what a peer says it is; nothing depends on it but what people see.
type Role uint8

// Roles.
const (
	RoleWriter  Role = 1
	RoleReader  Role = 2
	RoleSettler Role = 3
	RoleTool    Role = 4
)

func (r Role) String() string {
	if names := [...]string{RoleWriter: "writer", RoleReader: "reader", RoleSettler: "settler", RoleTool: "tool"}; int(r) < len(names) && r > 0 {
		return names[r]
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// Message is anything that fits into a frame.
type Message interface {
	kind() Type
	append(dst []byte) []byte
}

// Messages, in the order of their types.
type (
	// Hello is the first message of either side.
	Hello struct {
		Version  uint16 // if it is not ProtocolVersion, the rest is not known
		ChainID  uint64
		Genesis  chain.Hash // hash of the genesis document
		Module   chain.Hash
		Role     Role
		Head     chain.BlockID // proposed tip
		MaxFrame uint32        // the largest frame that the sender takes, bytes
		Agent    string        // name and version, for people
	}
	// Ping asks for a Pong with the same nonce.
	Ping struct{ Nonce uint64 }
	// Pong answers a Ping.
	Pong struct{ Nonce uint64 }
	// GetTips asks for Tips.
	GetTips struct{ ID uint32 }
	// Tips are the four tiers of one instant.
	Tips struct {
		ID   uint32
		Tips chain.Tips
	}
	// GetBlocks asks for up to Limit consecutive blocks, of MaxBytes together.
	GetBlocks struct {
		ID       uint32
		From     uint64
		Limit    uint32
		MaxBytes uint32
	}
	// Blocks are one or more block encodings.
	Blocks struct {
		ID     uint32
		Blocks [][]byte
	}
	// GetHeader asks for the header of one block.
	GetHeader struct {
		ID     uint32
		Number uint64
	}
	// Header is one header.
	Header struct {
		ID     uint32
		Header chain.Header
	}
	// GetGenesis asks for the genesis document: the one request of a peer that
	// does not know the chain yet.
	GetGenesis struct{ ID uint32 }
	// Genesis is the document, in the encoding of host/chain.
	Genesis struct {
		ID       uint32
		Document []byte
	}
	// Failed answers a request that cannot be answered otherwise.
	Failed struct {
		ID   uint32
		Code FailCode
		Text string
	}
	// Subscribe asks for doorbells from now on.
	Subscribe struct{ Ride bool }
	// Doorbell says that the proposed tip has moved. Block is its encoding, or
	// empty.
	Doorbell struct {
		Tip   chain.BlockID
		Block []byte
	}
)

// FailCode says why a request failed.
type FailCode uint16

// Codes of [Failed].
const (
	FailNotAvailable FailCode = 1 // the peer does not have that block
	FailBadRequest   FailCode = 2
	FailInternal     FailCode = 3
	FailNoSnapshot   FailCode = 4 // the peer does not have that snapshot, or serves none
	FailBusy         FailCode = 5 // the peer has enough to do for others; ask again later
)

func (Hello) kind() Type      { return TypeHello }
func (Refusal) kind() Type    { return TypeRefusal }
func (Ping) kind() Type       { return TypePing }
func (Pong) kind() Type       { return TypePong }
func (GetTips) kind() Type    { return TypeGetTips }
func (Tips) kind() Type       { return TypeTips }
func (GetBlocks) kind() Type  { return TypeGetBlocks }
func (Blocks) kind() Type     { return TypeBlocks }
func (GetHeader) kind() Type  { return TypeGetHeader }
func (Header) kind() Type     { return TypeHeader }
func (GetGenesis) kind() Type { return TypeGetGenesis }
func (Genesis) kind() Type    { return TypeGenesis }
func (Failed) kind() Type     { return TypeFailed }
func (Subscribe) kind() Type  { return TypeSubscribe }
func (Doorbell) kind() Type   { return TypeDoorbell }

// magic opens every Hello.
const magic = "KZNS"

func (m Hello) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = abi.AppendU16(dst, m.Version)
	dst = abi.AppendU64(dst, m.ChainID)
	dst = append(append(dst, m.Genesis[:]...), m.Module[:]...)
	dst = appendID(append(dst, byte(m.Role)), m.Head)
	dst = abi.AppendU32(dst, m.MaxFrame)
	return abi.AppendString(dst, clip(m.Agent, MaxAgentBytes))
}

func (m Refusal) append(dst []byte) []byte {
	dst = abi.AppendU16(dst, uint16(m.Code))
	dst = abi.AppendString(dst, clip(m.Ours, MaxTextBytes))
	return abi.AppendString(dst, clip(m.Theirs, MaxTextBytes))
}

func (m Ping) append(dst []byte) []byte    { return abi.AppendU64(dst, m.Nonce) }
func (m Pong) append(dst []byte) []byte    { return abi.AppendU64(dst, m.Nonce) }
func (m GetTips) append(dst []byte) []byte { return abi.AppendU32(dst, m.ID) }

func (m Tips) append(dst []byte) []byte {
	dst = appendID(abi.AppendU32(dst, m.ID), m.Tips.Proposed)
	for _, t := range []chain.TipID{m.Tips.Checkpointed, m.Tips.Proven, m.Tips.Finalized} {
		dst = appendID(appendID(dst, t.Block), chain.BlockID(t.Batch))
	}
	return dst
}

func (m GetBlocks) append(dst []byte) []byte {
	dst = abi.AppendU64(abi.AppendU32(dst, m.ID), m.From)
	return abi.AppendU32(abi.AppendU32(dst, m.Limit), m.MaxBytes)
}

// maxDocumentBytes bounds a genesis document in a frame, bytes.
const maxDocumentBytes = MaxFrameBytes - 1 - 4 - 4

// blocksOverhead bounds what a Blocks frame has besides blocks, bytes.
const blocksOverhead = 1 + 4 + 4 + 4*MaxRangeBlocks

func (m Blocks) append(dst []byte) []byte {
	dst = abi.AppendU32(abi.AppendU32(dst, m.ID), uint32(len(m.Blocks)))
	for _, b := range m.Blocks {
		dst = abi.AppendBytes(dst, b)
	}
	return dst
}

func (m GetHeader) append(dst []byte) []byte {
	return abi.AppendU64(abi.AppendU32(dst, m.ID), m.Number)
}

func (m Header) append(dst []byte) []byte { return m.Header.Append(abi.AppendU32(dst, m.ID)) }

func (m GetGenesis) append(dst []byte) []byte { return abi.AppendU32(dst, m.ID) }

func (m Genesis) append(dst []byte) []byte {
	return abi.AppendBytes(abi.AppendU32(dst, m.ID), m.Document)
}

func (m Failed) append(dst []byte) []byte {
	dst = abi.AppendU16(abi.AppendU32(dst, m.ID), uint16(m.Code))
	return abi.AppendString(dst, clip(m.Text, MaxTextBytes))
}

func (m Subscribe) append(dst []byte) []byte { return abi.AppendBool(dst, m.Ride) }

func (m Doorbell) append(dst []byte) []byte { return abi.AppendBytes(appendID(dst, m.Tip), m.Block) }

func appendID(dst []byte, id chain.BlockID) []byte {
	return append(abi.AppendU64(dst, id.Number), id.Hash[:]...)
}

func readID(r *abi.Reader) chain.BlockID {
	return chain.BlockID{Number: r.U64(), Hash: r.Bytes32()}
}

// clip cuts a text for people to n bytes.
func clip(s string, n int) string { return s[:min(len(s), n)] }

// encode is the whole frame of a message. size is a guess of what the message
// takes, bytes.
func encode(m Message, size int) []byte {
	b := append(make([]byte, 0, 5+size), 0, 0, 0, 0, byte(m.kind()))
	b = m.append(b)
	n := len(b) - 4
	invariant.Hold(n <= MaxFrameBytes, "frame of %d bytes, type %#x (invariant 11)", n, m.kind())
	binary.LittleEndian.PutUint32(b, uint32(n))
	return b
}

// Decode reads exactly one message. Byte strings in it are views into payload.
func Decode(t Type, payload []byte) (Message, error) {
	r := abi.NewReader(payload)
	m := read(t, &r)
	switch {
	case m == nil:
		return nil, fmt.Errorf("%w: %#x", ErrUnknownType, uint8(t))
	case !r.Done():
		return nil, fmt.Errorf("%w: type %#x, %d bytes", ErrMalformed, uint8(t), len(payload))
	}
	return m, nil
}

// read takes a message off r; nil for an unknown type.
func read(t Type, r *abi.Reader) Message {
	switch t {
	case TypeHello:
		return readHello(r)
	case TypeRefusal:
		return Refusal{Code: Code(r.U16()), Ours: r.String(MaxTextBytes), Theirs: r.String(MaxTextBytes)}
	case TypePing:
		return Ping{r.U64()}
	case TypePong:
		return Pong{r.U64()}
	case TypeGetTips:
		return GetTips{r.U32()}
	case TypeTips:
		return readTips(r)
	case TypeGetBlocks:
		return GetBlocks{ID: r.U32(), From: r.U64(), Limit: r.U32(), MaxBytes: r.U32()}
	case TypeBlocks:
		return readBlocks(r)
	case TypeGetHeader:
		return GetHeader{ID: r.U32(), Number: r.U64()}
	case TypeHeader:
		return readHeader(r)
	case TypeGetGenesis:
		return GetGenesis{r.U32()}
	case TypeGenesis:
		return Genesis{ID: r.U32(), Document: r.Bytes(maxDocumentBytes)}
	case TypeFailed:
		return Failed{ID: r.U32(), Code: FailCode(r.U16()), Text: r.String(MaxTextBytes)}
	case TypeSubscribe:
		return Subscribe{r.Bool()}
	case TypeDoorbell:
		return Doorbell{Tip: readID(r), Block: r.Bytes(MaxRideBytes)}
	case TypeSubscribeOpen:
		return SubscribeOpen{}
	case TypeOpenTxs:
		return readOpenTxs(r)
	case TypeGetSnapshots:
		return GetSnapshots{r.U32()}
	case TypeSnapshots:
		return readSnapshots(r)
	case TypeGetManifest:
		return GetManifest{ID: r.U32(), Hash: r.Bytes32()}
	case TypeManifest:
		return Manifest{ID: r.U32(), Bytes: r.Bytes(fetch.MaxManifestBytes)}
	case TypeGetChunk:
		return GetChunk{ID: r.U32(), Hash: r.Bytes32(), Index: r.U32()}
	case TypeChunk:
		return Chunk{ID: r.U32(), Bytes: r.Bytes(fetch.MaxChunkBytes)}
	case TypeGetEvents:
		return GetEvents{ID: r.U32(), From: r.U64(), Limit: r.U32(), MaxBytes: r.U32()}
	case TypeEvents:
		return readEvents(r)
	case TypeGap:
		return Gap{ID: r.U32(), Base: r.U64()}
	}
	return nil
}

// readHello stops after a version that is not ours: what follows may mean
// anything, and the version alone is enough to refuse.
func readHello(r *abi.Reader) (m Hello) {
	if string(r.Take(len(magic))) != magic {
		r.Fail()
	}
	if m.Version = r.U16(); m.Version != ProtocolVersion {
		r.Rest()
		return m
	}
	m.ChainID, m.Genesis, m.Module = r.U64(), r.Bytes32(), r.Bytes32()
	m.Role, m.Head, m.MaxFrame = Role(r.U8()), readID(r), r.U32()
	m.Agent = r.String(MaxAgentBytes)
	return m
}

func readTips(r *abi.Reader) (m Tips) {
	m.ID, m.Tips.Proposed = r.U32(), readID(r)
	for _, t := range []*chain.TipID{&m.Tips.Checkpointed, &m.Tips.Proven, &m.Tips.Finalized} {
		*t = chain.TipID{Block: readID(r), Batch: chain.BatchID(readID(r))}
	}
	return m
}

func readBlocks(r *abi.Reader) (m Blocks) {
	m.ID = r.U32()
	n := r.Count(4)
	if n < 1 || n > MaxRangeBlocks {
		r.Fail()
		return m
	}
	m.Blocks = make([][]byte, n)
	for i := range m.Blocks {
		m.Blocks[i] = r.Bytes(chain.MaxBlockBytes)
	}
	return m
}

func readHeader(r *abi.Reader) (m Header) {
	m.ID = r.U32()
	h, err := chain.DecodeHeader(r.Rest())
	if err != nil {
		r.Fail()
	}
	m.Header = h
	return m
}
