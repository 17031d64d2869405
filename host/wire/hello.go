package wire

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/kaizenchain/kaizen/host/chain"
)

// Identity is what a node says about itself in every handshake.
type Identity struct {
	ChainID uint64
	Genesis chain.Hash // hash of the genesis document
	Module  chain.Hash
	Role    Role
	Agent   string // name and version, for people; at most MaxAgentBytes
	// Document is the genesis document that a server gives to strangers.
	Document []byte
}

// stranger reports whether the sender knows no chain yet: it names none, and may
// ask for nothing but the genesis document.
func (h *Hello) stranger() bool { return h.ChainID == 0 && h.Genesis == chain.Hash{} }

func (i Identity) hello(head chain.BlockID) Hello {
	return Hello{Version: ProtocolVersion, ChainID: i.ChainID, Genesis: i.Genesis, Module: i.Module,
		Role: i.Role, Head: head, MaxFrame: MaxFrameBytes, Agent: i.Agent}
}

// check returns why these two cannot talk, or nil; client is whose Hello may be
// that of a stranger. What is checked first is what makes the rest meaningless.
func (h *Hello) check(theirs, client *Hello) *Refusal {
	for _, c := range []struct {
		code         Code
		ours, theirs string
	}{
		{CodeVersion, fmt.Sprint(h.Version), fmt.Sprint(theirs.Version)},
		{CodeChain, strconv.FormatUint(h.ChainID, 10), strconv.FormatUint(theirs.ChainID, 10)},
		{CodeGenesis, h.Genesis.String(), theirs.Genesis.String()},
		{CodeModule, h.Module.String(), theirs.Module.String()},
	} {
		if (c.code == CodeChain || c.code == CodeGenesis) && client.stranger() {
			continue
		}
		if c.ours != c.theirs {
			return &Refusal{Code: c.code, Ours: c.ours, Theirs: c.theirs}
		}
	}
	if theirs.MaxFrame < minMaxFrame {
		return &Refusal{Code: CodeFrame, Ours: fmt.Sprintf("at least %d", minMaxFrame), Theirs: fmt.Sprint(theirs.MaxFrame)}
	}
	return nil
}

// minMaxFrame is the smallest limit a peer may have: the largest block must fit.
const minMaxFrame = chain.MaxBlockBytes + 64

// receiveHello reads the peer's first message; until bounds it.
func (f *framer) receiveHello() (Hello, error) {
	m, err := f.read(f.limits.HandshakeTimeout)
	if errors.Is(err, ErrFrameSize) || errors.Is(err, ErrUnknownType) || errors.Is(err, ErrMalformed) {
		return Hello{}, fmt.Errorf("%w: %w", ErrMagic, err)
	}
	if err != nil {
		return Hello{}, err
	}
	switch m := m.(type) {
	case Hello:
		return m, nil
	case Refusal:
		return Hello{}, m.received()
	}
	return Hello{}, fmt.Errorf("%w: type %#x before the handshake", ErrUnexpected, m.kind())
}

// refuse tells the peer why, as far as it still listens, and returns the reason.
func (f *framer) refuse(r *Refusal) error {
	if err := f.send(*r); err != nil {
		return fmt.Errorf("%w (and it could not be told: %w)", r, err)
	}
	return r
}
