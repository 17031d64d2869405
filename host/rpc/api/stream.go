package api

import (
	"encoding/json"
	"fmt"

	"github.com/kaizenchain/kaizen/host/chain"
	"github.com/kaizenchain/kaizen/host/rpc/internal/jsonscan"
)

// Topics of kaizen_subscribe.
const (
	TopicBlocks = "blocks"
	TopicEvents = "events"
	TopicTheses = "theses"
	TopicPrices = "prices"
)

// Methods of the notifications that a subscription sends.
const (
	NotifySubscription = "kaizen_subscription"         // [Notification]
	NotifyProgress     = "kaizen_subscriptionProgress" // [Progress]
	NotifyClosed       = "kaizen_subscriptionClosed"   // [Closed]
)

// Why a node closes a subscription. A program goes on from Closed.Position after
// any of them but the last two.
const (
	ReasonSlow       = "SlowSubscriber"     // further behind than max_subscription_lag
	ReasonRolledBack = "RolledBack"         // more blocks were taken back than the node can list; Position is before them
	ReasonInternal   = "InternalError"      // the node's log says why
	ReasonPruned     = "PositionPruned"     // the blocks that come next are not kept here any more
	ReasonNotOnChain = "PositionNotOnChain" // the block of `from` turned out to be another one
)

// EndOfBlock is the index of a position after everything in its block.
const EndOfBlock = 1<<32 - 1

// Position is a place in the one order that all topics share: by height, and
// within a block
//
//	0                  the prices in force in the block
//	1, 2, 3 …          its events: of the begin hook, of each transaction, of the end hook
//	EndOfBlock         the block itself
//
// A subscription's positions only grow, except by a [Removed]. To resume, the
// position of the last notification is given back: what follows is what comes
// after it. Hash is the block's; a node that has another block there refuses the
// position instead of skipping something.
type Position struct {
	Height uint64      `json:"height"`
	Index  uint64      `json:"index"`
	Hash   *chain.Hash `json:"hash,omitempty"`
}

// After is the position after everything in a block.
func After(id chain.BlockID) Position {
	return Position{Height: id.Number, Index: EndOfBlock, Hash: &id.Hash}
}

// Less reports whether p comes before q. Hashes do not matter.
func (p Position) Less(q Position) bool {
	return p.Height < q.Height || (p.Height == q.Height && p.Index < q.Index)
}

// String is "height:index", or "height:end".
func (p Position) String() string {
	if p.Index == EndOfBlock {
		return fmt.Sprintf("%d:end", p.Height)
	}
	return fmt.Sprintf("%d:%d", p.Height, p.Index)
}

// Notification is the params of kaizen_subscription. Result is a [BlockNotice],
// [EventNotice] or [PriceNotice] by topic, or a [Removed].
type Notification struct {
	Subscription string          `json:"subscription"`
	Position     Position        `json:"position"`
	Result       json.RawMessage `json:"result"`
}

// Progress is the params of kaizen_subscriptionProgress: there was nothing for
// the subscription up to Position, and it may resume there.
type Progress struct {
	Subscription string   `json:"subscription"`
	Position     Position `json:"position"`
}

// Closed is the params of kaizen_subscriptionClosed: the last that a
// subscription sends. Everything up to Position has been delivered.
type Closed struct {
	Subscription string   `json:"subscription"`
	Reason       string   `json:"reason"`
	Position     Position `json:"position"`
}

// Removed says that a block that had been delivered was taken back (requirements
// D-8). Blocks are removed from the newest down, before what replaces them.
type Removed struct {
	Removed      bool         `json:"removed"` // true; absent in every other result
	Height       uint64       `json:"height"`
	Hash         chain.Hash   `json:"hash"`
	Transactions []chain.Hash `json:"transactions"` // ids, in the order of the block
}

// BlockNotice is a result of topic blocks.
type BlockNotice struct {
	Height       uint64     `json:"height"`
	Hash         chain.Hash `json:"hash"`
	Header       Header     `json:"header"`
	Transactions uint64     `json:"transactions"`
	Failed       uint64     `json:"failed"` // of Transactions
	Events       uint64     `json:"events"`
	Size         uint64     `json:"size"` // bytes of the encoded block
}

// PriceNotice is a result of topic prices: a pair's price in force from this
// block on differs from what was in force before, or became stale, or fresh.
type PriceNotice struct {
	Pair string `json:"pair"`
	Price
	Stale  bool   `json:"stale"`
	Height uint64 `json:"height"`
	Time   uint64 `json:"time"` // the block's, ms
}

// EventNotice is a result of topics events and theses. In JSON it is flat: where
// it is, then the event's type and fields. A field of the event that is called
// like one of ours is there in its place.
type EventNotice struct {
	Height uint64      // of the block
	Time   uint64      // of the block, ms
	TxHash *chain.Hash // nil: an event of a block hook
	Index  *uint64     // of the transaction in the block; nil as TxHash
	Event
}

// MarshalJSON writes the flat form.
func (n EventNotice) MarshalJSON() ([]byte, error) {
	where, err := json.Marshal(eventPlace{&n.Height, &n.Time, n.TxHash, n.Index})
	if err != nil {
		return nil, err
	}
	event, err := n.Event.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return append(append(where[:len(where)-1], ','), event[1:]...), nil
}

type eventPlace struct {
	Height *uint64     `json:"height"`
	Time   *uint64     `json:"time"`
	TxHash *chain.Hash `json:"tx_hash"`
	Index  *uint64     `json:"index"`
}

// UnmarshalJSON reads the flat form: what comes before the type is ours, the rest
// is the event's.
func (n *EventNotice) UnmarshalJSON(b []byte) error {
	*n = EventNotice{}
	var bad error
	sc := jsonscan.New(b)
	ok := sc.Object(func(name string, value []byte) bool {
		if n.Type == "" && name != "type" {
			bad = n.setPlace(name, value)
		} else {
			bad = n.Event.set(name, value)
		}
		return bad == nil
	})
	if bad == nil && (!ok || n.Type == "") {
		bad = fmt.Errorf("event %.80q: want an object with a type", b)
	}
	return bad
}

func (n *EventNotice) setPlace(name string, value []byte) error {
	switch name {
	case "height":
		return json.Unmarshal(value, &n.Height)
	case "time":
		return json.Unmarshal(value, &n.Time)
	case "tx_hash":
		return json.Unmarshal(value, &n.TxHash)
	case "index":
		return json.Unmarshal(value, &n.Index)
	}
	return fmt.Errorf("event: unknown member %.80q before its type", name)
}
