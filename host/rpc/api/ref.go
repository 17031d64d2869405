package api

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Tag is a name for a moving height (requirements D-6).
type Tag string

// The tags. Latest is another name for executed, earliest for height 0.
const (
	TagLatest       Tag = "latest"
	TagPending      Tag = "pending"  // the block that is open; write node only
	TagProposed     Tag = "proposed" // sealed by the sequencer, maybe not executed here yet
	TagExecuted     Tag = "executed" // executed and verified here
	TagCheckpointed Tag = "checkpointed"
	TagProven       Tag = "proven"
	TagFinalized    Tag = "finalized" // order cannot change at or below it
	TagSafe         Tag = "safe"      // the lower of finalized and executed
	TagEarliest     Tag = "earliest"
)

// Tags lists every tag, for help texts and error messages.
var Tags = []Tag{TagLatest, TagPending, TagProposed, TagExecuted, TagCheckpointed, TagProven, TagFinalized, TagSafe, TagEarliest}

// Ref is a height argument: exactly one of a number, a block hash or a tag. The
// zero Ref is [TagLatest].
type Ref struct {
	kind   refKind
	number uint64
	hash   chain.Hash
	tag    Tag
}

type refKind uint8

const (
	refTag refKind = iota
	refNumber
	refHash
)

// At refers to a height.
func At(height uint64) Ref { return Ref{kind: refNumber, number: height} }

// ByHash refers to a block by its hash.
func ByHash(h chain.Hash) Ref { return Ref{kind: refHash, hash: h} }

// ByTag refers to a block by its tag, which must be one of [Tags].
func ByTag(t Tag) Ref {
	if t == TagLatest {
		t = ""
	}
	return Ref{tag: t}
}

// Number is the height, if r is one.
func (r Ref) Number() (uint64, bool) { return r.number, r.kind == refNumber }

// Hash is the block hash, if r is one.
func (r Ref) Hash() (chain.Hash, bool) { return r.hash, r.kind == refHash }

// Tag is the tag, if r is one.
func (r Ref) Tag() (Tag, bool) {
	if r.kind == refTag && r.tag == "" {
		return TagLatest, true
	}
	return r.tag, r.kind == refTag
}

// String is what [ParseRef] reads.
func (r Ref) String() string {
	switch r.kind {
	case refNumber:
		return strconv.FormatUint(r.number, 10)
	case refHash:
		return r.hash.String()
	}
	tag, _ := r.Tag()
	return string(tag)
}

// ParseRef reads a height argument as a person types it: decimal digits, 0x and
// 64 hex digits, or a tag.
func ParseRef(s string) (Ref, error) {
	if s != "" && s[0] >= '0' && s[0] <= '9' && (len(s) == 1 || s[1] != 'x') {
		n, err := ParseUint(s)
		if err != nil {
			return Ref{}, fmt.Errorf("height %w", err)
		}
		return At(n), nil
	}
	return parseName(s)
}

// parseName reads a hash or a tag.
func parseName(s string) (Ref, error) {
	for _, t := range Tags {
		if s == string(t) {
			return ByTag(t), nil
		}
	}
	if h, err := chain.ParseHash(s); err == nil {
		return ByHash(h), nil
	}
	return Ref{}, fmt.Errorf("height %.80q: want a number, a block hash, or one of %v", s, Tags)
}

// MarshalJSON writes a number as a JSON number, a hash or tag as a string.
func (r Ref) MarshalJSON() ([]byte, error) {
	if r.kind == refNumber {
		return strconv.AppendUint(nil, r.number, 10), nil
	}
	return json.Marshal(r.String())
}

// UnmarshalJSON reads what [Ref.MarshalJSON] writes; a number in a string is not
// one.
func (r *Ref) UnmarshalJSON(b []byte) (err error) {
	if len(b) == 0 || b[0] != '"' {
		n, err := ParseUint(string(b))
		if err != nil {
			return fmt.Errorf("height %w", err)
		}
		*r = At(n)
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*r, err = parseName(s)
	return err
}
