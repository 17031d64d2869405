package proof

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxAnswerBytes bounds the JSON of an answer: proof, key and value in hexadecimal,
// and room for the rest.
const MaxAnswerBytes = 2*(MaxBytes+MaxValueBytes+MaxKeyBytes) + 16<<10

// ErrHeader is wrapped when an answer's header is not what its hash or signature
// says.
var ErrHeader = errors.New("header does not hold")

// Answer is what a node answers to kaizen_getProof (RPC.md): what a key is, the
// proof of it, and the header whose state root that is about.
type Answer struct {
	Block struct {
		Height uint64 `json:"height"`
		Hash   *Hash  `json:"hash"`
	} `json:"block"`
	Key    Bytes  `json:"key"`
	Value  *Bytes `json:"value"` // nil: absent
	Proof  Bytes  `json:"proof"`
	Header Header `json:"header"`
}

// Header is a block's header, field by field as in host/chain/FORMAT.md.
type Header struct {
	Hash         Hash   `json:"hash"`
	Version      uint16 `json:"version"`
	ChainID      uint64 `json:"chain_id"`
	Height       uint64 `json:"height"`
	ParentHash   Hash   `json:"parent_hash"`
	Time         uint64 `json:"time"`
	OracleHash   Hash   `json:"oracle_hash"`
	TxsRoot      Hash   `json:"transactions_root"`
	ReceiptsRoot Hash   `json:"receipts_root"`
	StateRoot    Hash   `json:"state_root"`
	ModuleHash   Hash   `json:"module_hash"`
	Sequencer    Bytes  `json:"sequencer"`
	Signature    Bytes  `json:"signature"`
}

// Hash and Bytes are byte strings; in JSON, 0x and hexadecimal digits.
type (
	Hash  [32]byte
	Bytes []byte
)

// String is 0x and digits.
func (h Hash) String() string { return "0x" + hex.EncodeToString(h[:]) }

// UnmarshalText accepts 0x and 64 digits.
func (h *Hash) UnmarshalText(text []byte) error {
	var b Bytes
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if len(b) != len(h) {
		return fmt.Errorf("hash of %d bytes, want %d", len(b), len(h))
	}
	*h = Hash(b)
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText accepts 0x and an even number of digits.
func (b *Bytes) UnmarshalText(text []byte) error {
	digits, found := strings.CutPrefix(string(text), "0x")
	v, err := hex.DecodeString(digits)
	if !found || err != nil {
		return fmt.Errorf("%.40q: want 0x and an even number of hexadecimal digits", text)
	}
	*b = v
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (b Bytes) MarshalText() ([]byte, error) { return []byte("0x" + hex.EncodeToString(b)), nil }

// ParseAnswer reads an answer: the result of kaizen_getProof, or the response that
// holds it. Fields that are not known are passed over.
func ParseAnswer(b []byte) (*Answer, error) {
	if len(b) > MaxAnswerBytes {
		return nil, fmt.Errorf("%w: %d bytes of JSON, limit %d", ErrTooLong, len(b), MaxAnswerBytes)
	}
	var response struct {
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(b, &response); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case response.Result != nil:
		b = response.Result
	case response.Error != nil:
		return nil, fmt.Errorf("%w: the node answered with an error: %.200s", ErrMalformed, response.Error)
	}
	var a Answer
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if a.Key == nil || a.Proof == nil {
		return nil, fmt.Errorf("%w: no key or no proof in it", ErrMalformed)
	}
	return &a, nil
}

// Verify checks everything an answer says, but not that anybody is to be trusted:
// the hash of the header, its signature by Header.Sequencer, that the answer speaks
// of that block, and [Answer.Against] its state root. Block 0 has no signature. It
// is for the caller to know the sequencer, or the hash.
func (a *Answer) Verify() error {
	if err := a.Header.Verify(); err != nil {
		return err
	}
	if b := &a.Block; b.Height != a.Header.Height || b.Hash == nil || *b.Hash != a.Header.Hash {
		return fmt.Errorf("%w: the answer speaks of block %d, its header is that of %d %s", ErrHeader, b.Height, a.Header.Height, a.Header.Hash)
	}
	return a.Against(a.Header.StateRoot)
}

// Against checks only that the key has the value, or is absent, in the state with a
// root.
func (a *Answer) Against(root [32]byte) error {
	p, err := Decode(a.Proof)
	if err != nil {
		return err
	}
	value, present, err := Verify(root, a.Key, &p)
	if err != nil {
		return err
	}
	if claimed := a.Value != nil; claimed != present || present && !bytes.Equal(value, *a.Value) {
		return fmt.Errorf("%w: it shows another value than the answer has", ErrInvalid)
	}
	return nil
}

// headerTag and headerVersion are those of host/chain/FORMAT.md.
const (
	headerTag     = "kaizen/header/1\n"
	headerVersion = 1
)

// Computed is the hash of a header, from its fields.
func (h *Header) Computed() Hash {
	b := []byte(headerTag)
	b = binary.LittleEndian.AppendUint16(b, h.Version)
	b = binary.LittleEndian.AppendUint64(b, h.ChainID)
	b = binary.LittleEndian.AppendUint64(b, h.Height)
	b = append(b, h.ParentHash[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.Time)
	for _, f := range []*Hash{&h.OracleHash, &h.TxsRoot, &h.ReceiptsRoot, &h.StateRoot, &h.ModuleHash} {
		b = append(b, f[:]...)
	}
	return sha256.Sum256(append(b, h.Sequencer...))
}

// Verify compares a header with its hash and its signature.
func (h *Header) Verify() error {
	if h.Version != headerVersion || len(h.Sequencer) != ed25519.PublicKeySize || len(h.Signature) != ed25519.SignatureSize {
		return fmt.Errorf("%w: version %d, key of %d bytes, signature of %d", ErrHeader, h.Version, len(h.Sequencer), len(h.Signature))
	}
	id := h.Computed()
	if id != h.Hash {
		return fmt.Errorf("%w: its hash is %s, the answer says %s", ErrHeader, id, h.Hash)
	}
	if h.Height > 0 && !ed25519.Verify(ed25519.PublicKey(h.Sequencer), id[:], h.Signature) {
		return fmt.Errorf("%w: the signature by %x does not verify", ErrHeader, []byte(h.Sequencer))
	}
	return nil
}
