package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/kaizenchain/kaizen/host/chain"
)

// FormatVersion is the version of the data directory; LAYOUT.md lists them.
const FormatVersion uint16 = 1

// Names inside a data directory.
const (
	lockFile    = "LOCK"
	versionFile = "VERSION"
	genesisFile = "genesis.bin"
	markFile    = "HEAD"
	metaFile    = "meta.db"
	blocksDir   = "blocks"
	journalDir  = "journal"
	indexDir    = "index"
	evidenceDir = "evidence"
	tmpSuffix   = ".tmp"
)

// Limits.
const (
	// DefaultSegmentBytes is the size after which a block log segment is closed.
	DefaultSegmentBytes = 64 << 20
	// MaxSegmentBytes bounds Options.SegmentBytes: with a last record of any size
	// an offset inside a segment still fits 32 bits.
	MaxSegmentBytes = 1 << 30
	// MaxResultsBytes bounds the encoding of one block's results.
	MaxResultsBytes = 256 << 20
	// MaxSignersBytes bounds what is stored of who signed a block's transactions.
	MaxSignersBytes = 4 << 20
	// maxAfterBlock bounds what follows a block in its record.
	maxAfterBlock = 4 + MaxSignersBytes + MaxResultsBytes
	// DefaultJournalBytes is the size of a journal segment.
	DefaultJournalBytes = 16 << 20
	// MinJournalBytes and MaxJournalBytes bound Options.JournalBytes.
	MinJournalBytes, MaxJournalBytes = 64 << 10, 256 << 20
	// MaxEvidenceFiles and MaxEvidenceBytes bound the evidence directory: so many
	// files of at most so many bytes.
	MaxEvidenceFiles, MaxEvidenceBytes = 64, 8 << 20
	// MaxHeight is the highest block that the index can point at: 40 bits, some
	// 3,000 years of ten blocks a second.
	MaxHeight = 1<<40 - 1
)

// castagnoli is the polynomial of CRC-32C, which processors compute themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

var le = binary.LittleEndian

// sealCRC writes the checksum of all but the last four bytes into those four.
func sealCRC(b []byte) []byte {
	le.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
	return b
}

// crcOK reports whether the last four bytes are the checksum of the rest.
func crcOK(b []byte) bool { return le.Uint32(b[len(b)-4:]) == checksum(b[:len(b)-4]) }

// numbered is a file name that sorts by number.
func numbered(n uint64, ext string) string { return fmt.Sprintf("%016x%s", n, ext) }

// parseNumbered reads what [numbered] wrote.
func parseNumbered(name, ext string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, ext)
	if !found || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	return n, err == nil && numbered(n, ext) == name
}

// versionText is the whole content of VERSION.
func versionText() string { return fmt.Sprintf("kaizen data directory, format %d\n", FormatVersion) }

// genesis.bin: magic, the document, its hash.
const genesisMagic = "KZGENES1"

func encodeGenesis(g *chain.Genesis) []byte {
	hash := g.Hash()
	return append(g.Append([]byte(genesisMagic)), hash[:]...)
}

// maxGenesisFile bounds genesis.bin, bytes.
const maxGenesisFile = len(genesisMagic) + chain.MaxGenesisBytes + 32

func decodeGenesis(b []byte) (*chain.Genesis, error) {
	body, found := strings.CutPrefix(string(b), genesisMagic)
	if !found || len(body) < 32 {
		return nil, corrupt(genesisFile, 0, NoHeight, "not a genesis file")
	}
	g, err := chain.DecodeGenesis([]byte(body[:len(body)-32]))
	if err != nil {
		return nil, corrupt(genesisFile, int64(len(genesisMagic)), NoHeight, "%v", err)
	}
	if stored := chain.Hash([]byte(body[len(body)-32:])); stored != g.Hash() {
		return nil, corrupt(genesisFile, int64(len(b)-32), NoHeight, "document hashes to %s, file says %s", g.Hash(), stored)
	}
	return g, nil
}
